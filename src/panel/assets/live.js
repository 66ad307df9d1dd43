// Puts what the station sends in place of what it sent before. Without script the page reloads itself.
const live = document.getElementById("live");
const news = document.getElementById("news");
if (live && window.EventSource) {
  const source = new EventSource(live.dataset.events);
  source.onmessage = (message) => {
    // A press that has begun on something that would be replaced is let through first.
    if (live.contains(document.activeElement) && live.matches(":active")) return;
    live.innerHTML = message.data;
    const title = live.querySelector(".playing .big");
    const text = title ? title.textContent : "";
    if (news && news.textContent !== text) news.textContent = text;
  };
}
