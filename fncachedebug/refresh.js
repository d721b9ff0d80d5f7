// Loads the page again every five seconds, unless somebody types, and keeps the place.
setInterval(async () => {
  const active = document.activeElement;
  if (document.hidden || (active && /INPUT|BUTTON|SELECT/.test(active.tagName)) || getSelection().toString()) return;
  const url = new URL(location.href);
  url.searchParams.delete("done");
  try {
    const answer = await fetch(url);
    if (!answer.ok) return;
    const next = new DOMParser().parseFromString(await answer.text(), "text/html");
    document.querySelector("main").replaceWith(next.querySelector("main"));
    document.querySelector(".at").replaceWith(next.querySelector(".at"));
    document.querySelector(".at").classList.remove("old");
  } catch {
    document.querySelector(".at").classList.add("old");
  }
}, 5000);
