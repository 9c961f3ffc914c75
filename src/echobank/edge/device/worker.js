// Keeps the files of this folder, so that the page opens without a network; a newer package replaces them.
const FILES = ["./", "index.html", "page.js", "manifest.webmanifest", "icon.svg", "edge.json", "machine.onnx",
  "vendor/ort.wasm.min.mjs", "vendor/ort-wasm-simd-threaded.mjs", "vendor/ort-wasm-simd-threaded.wasm"];
const NAME = "echobank " + self.registration.scope;
self.addEventListener("install", (event) => event.waitUntil(
  caches.open(NAME).then((cache) => cache.addAll(FILES)).then(() => self.skipWaiting())));
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));
self.addEventListener("fetch", (event) => {
  if (event.request.method !== "GET" || new URL(event.request.url).origin !== location.origin) return;
  event.respondWith(caches.open(NAME).then(async (cache) => {
    try {
      const fresh = await fetch(event.request);
      if (fresh.ok) await cache.put(event.request, fresh.clone());
      return fresh;
    } catch (error) {
      const kept = await cache.match(event.request, { ignoreSearch: true });
      if (kept) return kept;
      throw error;
    }
  }));
});
