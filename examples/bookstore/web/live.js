// Shows the live counters again every second.
setInterval(async () => {
  if (document.hidden) return;
  try {
    const answer = await fetch("/live");
    if (answer.ok) document.getElementById("live").innerHTML = await answer.text();
  } catch {} // the server has ended
}, 1000);
