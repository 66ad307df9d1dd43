// Puts what the station sends in place of what it sent before. Without script the page reloads itself.
const live = document.getElementById("live");
const news = document.getElementById("news");

// Only what differs is replaced, so that a button under a finger stays where it is, and so does what somebody writes.
const settle = (before, after) => {
  if (before.isEqualNode(after)) return;
  const [old, fresh] = [[...before.childNodes], [...after.childNodes]];
  const alike = before.cloneNode(false).isEqualNode(after.cloneNode(false));
  if (alike && old.length && old.length === fresh.length) {
    old.forEach((part, at) => settle(part, fresh[at]));
  } else {
    before.replaceWith(after);
  }
};

const show = (text) => {
  const fresh = live.cloneNode(false);
  fresh.innerHTML = text;
  const [old, parts] = [[...live.children], [...fresh.children]];
  if (old.length === parts.length) {
    old.forEach((part, at) => settle(part, parts[at]));
  } else {
    live.replaceChildren(...parts);
  }
};

if (live && window.EventSource) {
  const source = new EventSource(live.dataset.events);
  source.onmessage = (message) => {
    show(message.data);
    const title = live.querySelector(".playing .big");
    const text = title ? title.textContent : "";
    if (news && news.textContent !== text) news.textContent = text;
  };
  // A broken line is tried again by itself. One that is refused is not: no session any more, or too many who look.
  source.onerror = () => {
    if (source.readyState === EventSource.CLOSED) setTimeout(() => location.reload(), 30_000);
  };
}
