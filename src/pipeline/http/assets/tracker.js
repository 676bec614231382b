// Bklit's page tracker. See docs/tracker.md.
(() => {
  "use strict";
  const script = document.currentScript || document.querySelector("script[data-project]");
  if (!script || window.bklit?.track) return;
  const { project, token, hash, consent } = script.dataset;
  const host = script.dataset.host || script.src.replace(/\/[^/]*$/, "");
  const SESSION_MS = 30 * 60e3;
  const QUEUE_MS = 24 * 3600e3; // for as long, the server recognises repeated events
  const QUEUE_MOST = 100;
  const RETRY_MS = 2e3;
  const RETRY_MOST_MS = 300e3;
  const NAVIGATION_MS = 30e3;
  const SESSION = "bklit_session_id";
  const LANDING = "bklit_landing_page";
  const VISITED = "bklit_has_visited";
  const CONSENT = "bklit_consent";
  const QUEUE = `bklit_queue_${project}_`;

  // Storage may be blocked or full; then values last as long as the page.
  const storage = (name) => {
    const memory = {};
    const real = (use) => {
      try {
        return use(window[name]);
      } catch {}
    };
    return {
      get: (key) => memory[key] ?? real((store) => store.getItem(key)),
      set: (key, value) => {
        delete memory[key];
        real((store) => (store.setItem(key, value), true)) || (memory[key] = value);
      },
      remove: (key) => {
        delete memory[key];
        real((store) => store.removeItem(key));
      },
      keys: () => Object.keys(memory).concat(real(Object.keys) || []),
    };
  };
  const local = storage("localStorage");
  const tab = storage("sessionStorage");

  const now = () => new Date().toISOString();
  // Ids sort by time, also those of the same millisecond.
  let last = 0;
  const id = () =>
    (last = Math.max(Date.now(), last + 1)).toString(36) +
    [...crypto.getRandomValues(new Uint32Array(3))].map((n) => n.toString(36)).join("");

  const allowed = () => {
    if (navigator.doNotTrack === "1" || navigator.globalPrivacyControl) return false;
    const choice = local.get(CONSENT);
    return choice ? choice === "yes" : consent !== "required";
  };

  // The id of the session, unless it has timed out.
  const known = () => {
    try {
      const { id, timestamp } = JSON.parse(tab.get(SESSION));
      if (Date.now() - timestamp < SESSION_MS) return id;
    } catch {}
  };
  const session = () => {
    const old = known();
    if (!old) tab.remove(LANDING);
    const current = old || id();
    tab.set(SESSION, JSON.stringify({ id: current, timestamp: Date.now() }));
    return current;
  };

  // Every event is kept under its id until the server has answered, so that it survives
  // reloads and outages, and is sent again under the same id.
  const queued = () => local.keys().filter((key) => key.startsWith(QUEUE)).sort();
  const sending = new Set();
  let delay = RETRY_MS;
  let timer;

  const send = async (key) => {
    const [path, body] = (local.get(key) || "").split("\n");
    if (!body) return local.remove(key);
    sending.add(key);
    try {
      const response = await fetch(host + path, {
        method: "POST",
        headers: { "Content-Type": "application/json", Authorization: `Bearer ${token}` },
        body: `${body.slice(0, -1)},"sentAt":"${now()}"}`,
        credentials: "omit",
        keepalive: body.length < 2e4, // browsers limit what may outlive a page to 64 KiB
      });
      if (response.status > 499 || response.status === 408 || response.status === 429) throw 0;
      local.remove(key);
      delay = RETRY_MS;
      flush();
      // 409: an earlier attempt was accepted.
      if (!response.ok && response.status !== 409)
        console.warn("bklit: event refused:", await response.text());
    } catch {
      // With jitter, so that a server that is back is not called by all pages at once.
      timer ??= setTimeout(flush, delay * (0.5 + Math.random()));
      delay = Math.min(delay * 2, RETRY_MOST_MS);
    }
    sending.delete(key);
  };

  const flush = () => {
    clearTimeout(timer);
    timer = undefined;
    if (!allowed()) return;
    for (const key of queued()) {
      if (sending.has(key)) continue;
      if (Date.now() - parseInt(key.slice(QUEUE.length, QUEUE.length + 8), 36) < QUEUE_MS)
        return send(key);
      local.remove(key);
    }
  };

  const enqueue = (path, event) => {
    const key = id();
    const common = { projectId: project, sessionId: session(), timestamp: now() };
    const body = JSON.stringify({ ...common, ...event, eventId: `evt_${key}` });
    const waiting = queued();
    if (waiting.length >= QUEUE_MOST) local.remove(waiting[0]);
    local.set(QUEUE + key, `${path}\n${body}`);
    send(QUEUE + key);
  };

  const here = () => (hash == null ? location.href.split("#")[0] : location.href);
  const meta = (name) => document.querySelector(`meta[name="${name}"],meta[property="${name}"]`)?.content;
  const link = (rel) => document.querySelector(`link[rel~="${rel}"]`)?.href;
  let url;
  let leaving = 0;

  const pageview = () => {
    if (!allowed()) return;
    const referrer = url || document.referrer;
    url = here();
    leaving = 0;
    const isNewVisitor = !local.get(VISITED);
    local.set(VISITED, "true");
    session();
    const landingPage = tab.get(LANDING) || url;
    tab.set(LANDING, landingPage);
    enqueue("/track", {
      url,
      referrer: referrer || undefined,
      title: document.title || undefined,
      description: meta("description"),
      ogImage: meta("og:image"),
      ogTitle: meta("og:title"),
      favicon: link("icon"),
      canonicalUrl: link("canonical"),
      robots: meta("robots"),
      language: navigator.language,
      isNewVisitor,
      landingPage,
    });
  };

  const track = (name, metadata, eventType = "custom", triggerMethod = "manual") => {
    if (!allowed()) return;
    try {
      leaving = 0;
      const trackingId = String(name);
      enqueue("/track-event", { trackingId, eventType, metadata: { ...metadata, triggerMethod } });
    } catch (error) {
      console.warn("bklit: event not sent:", error);
    }
  };

  const end = (reason) => {
    const sessionId = known();
    if (!sessionId || !allowed()) return;
    // As text: beacons of other types need a preflight, for which it is too late.
    const body = JSON.stringify({ projectId: project, sessionId, timestamp: now(), reason });
    navigator.sendBeacon(`${host}/session-end`, body);
  };

  // Routes of single-page apps: only the last of several in a row, when the title is set.
  const route = () => {
    if (url && here() !== url) pageview();
  };
  for (const name of ["pushState", "replaceState"]) {
    const original = history[name];
    history[name] = function (...args) {
      original.apply(this, args);
      setTimeout(route, 50);
    };
  }
  addEventListener("popstate", () => setTimeout(route, 50));
  addEventListener("hashchange", () => setTimeout(route, 50));

  // A click counts even if the page stops its propagation, or it comes from a shadow tree.
  addEventListener(
    "click",
    (event) => {
      const element = event.composedPath().find((node) => node.dataset?.bklitEvent);
      if (!element) return;
      const metadata = {};
      for (const [key, value] of Object.entries(element.dataset))
        if (/^bklit[A-Z]/.test(key) && key !== "bklitEvent")
          metadata[key[5].toLowerCase() + key.slice(6)] = value;
      track(element.dataset.bklitEvent, metadata, "click", "automatic");
    },
    true,
  );

  // Going to another page of the site does not end the session.
  window.navigation?.addEventListener("navigate", ({ destination, downloadRequest }) => {
    const stays = new URL(destination.url).origin === location.origin;
    leaving = stays && !destination.sameDocument && downloadRequest == null ? Date.now() : 0;
  });
  addEventListener("pagehide", () => {
    route();
    if (Date.now() - leaving > NAVIGATION_MS) end("closed");
  });
  addEventListener("pageshow", ({ persisted }) => persisted && url && pageview());
  addEventListener("online", flush);

  window.bklit = {
    track: (name, metadata, eventType) => track(name, metadata, eventType),
    pageview,
    endSession: () => {
      end("manual");
      tab.remove(SESSION);
    },
    consent: (given) => {
      local.set(CONSENT, given ? "yes" : "no");
      if (given) return url || pageview();
      queued().forEach(local.remove);
      [SESSION, LANDING].forEach(tab.remove);
      local.remove(VISITED);
      url = undefined;
    },
  };

  // A page that is prerendered, or opened in the background, counts when it is first shown.
  const start = () => {
    if (document.visibilityState === "hidden") return;
    document.removeEventListener("visibilitychange", start);
    flush();
    if (!url) pageview();
  };
  document.addEventListener("visibilitychange", start);
  start();
})();
