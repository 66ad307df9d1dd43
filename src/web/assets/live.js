// Puts what the station sends in place of what it sent before. Without script the page reloads itself.
const live = document.getElementById("live");
const news = document.getElementById("news");

// Only parts that differ are replaced, so that a button under a finger stays where it is.
const show = (text) => {
  const fresh = document.createElement("template");
  fresh.innerHTML = text;
  const before = [...live.children];
  const after = [...fresh.content.children];
  if (before.length !== after.length) {
    live.replaceChildren(...after);
    return;
  }
  before.forEach((part, at) => {
    if (part.outerHTML !== after[at].outerHTML) part.replaceWith(after[at]);
  });
};

if (live && window.EventSource) {
  const source = new EventSource(live.dataset.events);
  source.onmessage = (message) => {
    show(message.data);
    const title = live.querySelector(".playing .big");
    const text = title ? title.textContent : "";
    if (news && news.textContent !== text) news.textContent = text;
  };
}
