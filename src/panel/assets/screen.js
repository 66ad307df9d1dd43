// Shows what the station sends. The browser connects anew by itself when the connection breaks; a refusal is tried again.
const screen = document.getElementById("screen");
const put = (id, text) => {
  const place = document.getElementById(id);
  if (place.textContent !== text) place.textContent = text;
};
const look = () => {
  const source = new EventSource(screen.dataset.events);
  source.onmessage = (message) => {
    const view = JSON.parse(message.data);
    put("text", view.text);
    put("clock", view.clock);
    put("small-clock", view.clock);
    put("next", view.next);
    document.getElementById("next-line").hidden = view.next === "";
    document.getElementById("text").className = view.size;
    screen.className = view.text === "" ? "between" : "speaking";
  };
  source.onerror = () => {
    if (source.readyState !== EventSource.CLOSED) return;
    setTimeout(look, 3000);
  };
};
look();
