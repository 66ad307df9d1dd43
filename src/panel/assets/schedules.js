// Says what is wrong with a schedule's text while it is being written; the button without script says the same.
const text = document.getElementById("schedule-text");
const list = document.getElementById("text-findings");
if (text && list && window.fetch) {
  let waiting = 0;
  let asked = 0;
  const check = async () => {
    const mine = ++asked;
    const body = JSON.stringify({ name: text.form.dataset.name, text: text.value });
    const headers = { "Content-Type": "application/json", Accept: "application/json" };
    try {
      const answer = await fetch("/schedules/check", { method: "POST", headers, body });
      const facts = await answer.json();
      // A slow answer to an older text says nothing any more.
      if (mine !== asked || !Array.isArray(facts.findings)) return;
      list.replaceChildren(...facts.findings.map((finding, at) => {
        const item = document.createElement("li");
        item.className = finding.severity;
        const place = finding.line ? `${list.dataset.line} ${finding.line} · ` : "";
        item.textContent = place + facts.remarks[at];
        return item;
      }));
    } catch {
      // The station does not answer; the button will say so.
    }
  };
  text.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(check, 600);
  });
}
