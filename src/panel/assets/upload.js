// Sends files one by one with their progress; drag and drop; cancel. Without script the form sends itself.
const LARGEST = 200000000;

const line = (form, list, name) => {
  const item = document.createElement("li");
  item.className = "card";
  const title = document.createElement("strong");
  title.textContent = name;
  const bar = document.createElement("progress");
  bar.max = 1;
  bar.value = 0;
  bar.setAttribute("aria-label", name);
  const said = document.createElement("span");
  said.setAttribute("role", "status");
  said.textContent = form.dataset.sending;
  const cancel = document.createElement("button");
  cancel.type = "button";
  cancel.className = "plain";
  cancel.textContent = form.dataset.cancel;
  item.append(title, " ", bar, " ", said, " ", cancel);
  list.append(item);
  const end = (text, good, path) => {
    bar.remove();
    cancel.remove();
    said.textContent = text;
    item.classList.add(good ? "good" : "faults");
    if (path) {
      const way = document.createElement("a");
      way.href = "/clips/" + path.split("/").map(encodeURIComponent).join("/");
      way.textContent = form.dataset.see;
      item.append(" ", way);
    }
  };
  return { bar, said, cancel, end };
};

const send = (form, list, file) => new Promise((done) => {
  const shown = line(form, list, file.name);
  if (file.size > LARGEST) {
    shown.end(form.dataset.tooBig, false);
    done();
    return;
  }
  const body = new FormData();
  for (const name of ["folder", "new-folder"]) {
    const field = form.elements.namedItem(name);
    if (field) body.append(name, field.value);
  }
  body.append("file", file, file.name);
  const request = new XMLHttpRequest();
  request.open("POST", form.action);
  request.setRequestHeader("Accept", "application/json");
  request.responseType = "json";
  request.upload.onprogress = (event) => {
    if (!event.lengthComputable) return;
    shown.bar.value = event.loaded / event.total;
    if (event.loaded === event.total) shown.said.textContent = form.dataset.checking;
  };
  request.onload = () => {
    const answer = request.response || {};
    const one = (answer.files || [])[0];
    if (one) shown.end(one.said, Boolean(one.path), one.path);
    else shown.end(answer.error || form.dataset.lost, false);
    done();
  };
  request.onerror = () => { shown.end(form.dataset.lost, false); done(); };
  request.onabort = () => { shown.end(form.dataset.cancelled, false); done(); };
  shown.cancel.addEventListener("click", () => request.abort());
  request.send(body);
});

for (const form of document.querySelectorAll("form[data-upload]")) {
  const input = form.querySelector("input[type=file]");
  const list = document.createElement("ul");
  list.className = "uploads";
  const drop = document.createElement("p");
  drop.className = "drop hint";
  drop.textContent = form.dataset.drop;
  form.append(drop, list);
  let last = Promise.resolve();
  const take = (files) => {
    const chosen = input.multiple ? [...files] : [...files].slice(0, 1);
    for (const file of chosen) last = last.then(() => send(form, list, file));
    input.value = "";
  };
  form.addEventListener("submit", (event) => {
    if (!input.files.length) return;
    event.preventDefault();
    take(input.files);
  });
  drop.addEventListener("dragover", (event) => { event.preventDefault(); drop.classList.add("over"); });
  drop.addEventListener("dragleave", () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    take(event.dataTransfer.files);
  });
}
