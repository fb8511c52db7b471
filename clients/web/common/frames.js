/**
 * Rendering, at most once per animation frame.
 * @module
 */

/**
 * Wrap `render` so that any number of calls within one animation frame run it once, in that frame.
 * A hidden tab has no frames: its updates wait, coalesced, until it is seen again.
 * @param {() => void} render
 * @returns {() => void}
 */
export function oncePerFrame(render) {
  let isRequested = false;
  return () => {
    if (isRequested) return;
    isRequested = true;
    requestAnimationFrame(() => {
      isRequested = false;
      render();
    });
  };
}
