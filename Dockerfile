# One image for every role: `docker run tickcast run | replica | ingestor | exchange`.

FROM python:3.11-slim AS packages
# OTEL=1: with what TRACE_SAMPLE needs.
ARG OTEL=""
COPY requirements.txt requirements-otel.txt /build/
RUN python -m venv /venv \
 && /venv/bin/pip install --no-cache-dir --require-hashes --only-binary :all: -r /build/requirements.txt \
    ${OTEL:+-r /build/requirements-otel.txt}

FROM python:3.11-slim
# pyproject.toml's; a test holds them together.
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Tickcast" \
      org.opencontainers.image.description="Binance market data, once in, to any number of Socket.IO clients" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.licenses="MIT"
RUN useradd --system --uid 10001 --no-create-home tickcast
COPY --from=packages /venv /venv
ENV PATH=/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOST=0.0.0.0 \
    PORT=8080 \
    LOG_FORMAT=json
WORKDIR /srv
COPY . .
# The root is read-only at run time: what Python would cache beside the source is made now.
RUN python -m compileall -q .
USER 10001
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=5s --start-period=15s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as u; u.urlopen(f'http://127.0.0.1:{os.environ[\"PORT\"]}/health/live', timeout=3)"]
ENTRYPOINT ["python", "-m", "app"]
CMD ["run"]
