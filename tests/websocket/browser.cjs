// A visit to two pages with Bklit's SDK, in as little of a browser as it asks for. Prints what
// the server sends, one message a line: node browser.cjs SDK WS_URL API_KEY
const [sdkPath, wsHost, apiKey] = process.argv.slice(2);

const storage = () => {
  const items = new Map();
  return {
    getItem: (key) => items.get(key) ?? null,
    setItem: (key, value) => items.set(key, String(value)),
  };
};
const location = { href: "https://shop.example/?utm_source=mail", hostname: "shop.example" };
const navigator = { userAgent: "Mozilla/5.0 (iPhone) Mobile/1", language: "nb" };
Object.defineProperty(globalThis, "navigator", { value: navigator, configurable: true });
Object.assign(globalThis, {
  window: globalThis,
  location,
  innerWidth: 390,
  innerHeight: 844,
  screen: { width: 390, height: 844 },
  sessionStorage: storage(),
  localStorage: storage(),
  document: { referrer: "https://www.google.com/", visibilityState: "visible" },
  history: {
    pushState: (_state, _title, path) => {
      location.href = new URL(path, location.href).href;
    },
    replaceState: () => {},
  },
  addEventListener: () => {},
});

// The next step is taken when the server has answered the one before.
const steps = [
  () => {},
  () => {},
  () => history.pushState(null, "", "/cart"),
  () => sdk.trackEvent("buy", "click", { price: 7 }),
  (socket) => {
    document.visibilityState = "hidden";
    socket.close();
  },
];
const Socket = globalThis.WebSocket;
globalThis.WebSocket = class extends Socket {
  constructor(url) {
    super(url);
    this.addEventListener("message", (event) => {
      console.log(event.data);
      steps.shift()?.(this);
    });
    this.addEventListener("close", () => process.exit(steps.length));
  }
};
setTimeout(() => {
  console.error("the visit took too long");
  process.exit(100);
}, 20000);

const sdk = require(sdkPath);
sdk.initBklit({ projectId: "default", wsHost, apiKey, debug: false });
