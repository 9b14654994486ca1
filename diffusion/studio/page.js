// A part that is marked in the sound to change is the part to make anew.
document.addEventListener("region", event => {
  if (!event.target.closest("#edit-view")) return;
  const set = (selector, seconds) => {
    const input = document.querySelector(`${selector} input`);
    if (!input) return;
    input.value = Math.floor(seconds * 1000) / 1000;
    input.dispatchEvent(new Event("input", { bubbles: true }));
    input.dispatchEvent(new Event("change", { bubbles: true }));
  };
  const [from, to] = event.detail || [0, 0];
  set("#inpaint-from", from);
  set("#inpaint-to", to);
});
