// Loads the page again every five seconds, and keeps the place. It waits while the reader has the focus
// in the page, has typed something or has selected text, because that would be lost.
const used = () => document.querySelector("main").contains(document.activeElement) || getSelection().toString() ||
  [...document.querySelectorAll("main input")].some((i) => i.value !== i.defaultValue || i.checked !== i.defaultChecked);
setInterval(async () => {
  if (document.hidden || used()) return;
  const url = new URL(location.href);
  url.searchParams.delete("done");
  try {
    const answer = await fetch(url);
    if (!answer.ok) return;
    const next = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (used()) return;
    document.querySelector("main").replaceWith(next.querySelector("main"));
    document.querySelector(".at").replaceWith(next.querySelector(".at"));
    document.querySelector(".at").classList.remove("old");
  } catch {
    document.querySelector(".at").classList.add("old");
  }
}, 5000);
