// Loaded before Artillery, which (2.0.21) sends an event to its makers even with ARTILLERY_DISABLE_TELEMETRY, and where it
// cannot reach them tries for 12 s before it ends. Without a client for that it does without.
"use strict";

const client = require.resolve("posthog-node");
require.cache[client] = { id: client, filename: client, loaded: true, exports: {} };
