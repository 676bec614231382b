"use strict";
const byId = (id) => document.getElementById(id);
const project = byId("project");
const token = byId("token");

const show = (line, failed) => {
  const item = document.createElement("li");
  item.textContent = `${new Date().toLocaleTimeString()} ${line}`;
  item.className = failed ? "failed" : "";
  byId("log").prepend(item);
  while (byId("log").childElementCount > 100) byId("log").lastElementChild.remove();
};

// What the tracker sends is shown with its response.
const original = window.fetch;
window.fetch = async (url, options) => {
  const request = `${options.method} ${new URL(url).pathname} ${options.body}`;
  try {
    const response = await original(url, options);
    show(`${request} → ${response.status} ${await response.clone().text()}`, !response.ok);
    return response;
  } catch (error) {
    show(`${request} → ${error}`, true);
    throw error;
  }
};
const beacon = navigator.sendBeacon.bind(navigator);
navigator.sendBeacon = (url, body) => {
  show(`beacon ${new URL(url).pathname} ${body}`);
  return beacon(url, body);
};

const post = (path, body, bearer) =>
  fetch(location.origin + path, {
    method: "POST",
    headers: { "Content-Type": "application/json", Authorization: `Bearer ${bearer}` },
    body: JSON.stringify(body),
  }).catch(() => {});
const actions = {
  pageview: () => bklit.pageview(),
  route: () => history.pushState(null, "", `/playground?page=${Math.floor(Math.random() * 100)}`),
  back: () => history.back(),
  event: () => bklit.track("playground-event", { plan: "pro", price: 9.5 }),
  end: () => bklit.endSession(),
  "wrong-token": () =>
    post("/track", { url: location.href, projectId: project.value }, `bk_live_${"0".repeat(64)}`),
  "no-url": () => post("/track", { projectId: project.value }, token.value),
  withdraw: () => bklit.consent(false),
  consent: () => bklit.consent(true),
};
for (const [id, action] of Object.entries(actions)) byId(id).addEventListener("click", action);

// Other values last as long as the tab.
for (const input of [project, token]) {
  input.value = sessionStorage.getItem(`playground_${input.id}`) ?? input.value;
}
byId("settings").addEventListener("submit", (event) => {
  event.preventDefault();
  for (const input of [project, token]) sessionStorage.setItem(`playground_${input.id}`, input.value);
  location.reload();
});

const notice = (text) => {
  byId("notice").textContent = text;
  byId("notice").hidden = false;
};
if (navigator.doNotTrack === "1" || navigator.globalPrivacyControl) {
  notice("This browser asks not to be tracked (Do Not Track or Global Privacy Control), so the tracker sends nothing.");
} else if (!token.value) {
  notice("Enter a token: bklit-tui token create --project NAME");
}
if (token.value) {
  const script = document.createElement("script");
  script.src = "/tracker.js";
  script.dataset.project = project.value;
  script.dataset.token = token.value;
  document.head.append(script);
}
