// HTML from the server, changed in place: what has not changed stays as it is, with its focus, its selection
// and its playing video. Clicks on [data-act] and submitted forms [data-form] go to the server as events.

function sameKind(a, b) {
  return a.nodeType === b.nodeType && a.nodeName === b.nodeName &&
    (a.nodeType !== 1 || (a.dataset.key || "") === (b.dataset.key || ""));
}

function morph(from, to) {
  if (from.nodeType !== 1) {
    if (from.nodeValue !== to.nodeValue) from.nodeValue = to.nodeValue;
    return;
  }
  for (const { name } of Array.from(from.attributes)) {
    if (!to.hasAttribute(name) && name !== "open") from.removeAttribute(name);
  }
  for (const { name, value } of Array.from(to.attributes)) {
    if (name !== "open" && from.getAttribute(name) !== value) from.setAttribute(name, value);
  }
  let at = from.firstChild;
  for (const wanted of Array.from(to.childNodes)) {
    let found = at;
    while (found && !sameKind(found, wanted)) found = found.nextSibling;
    if (!found) {
      from.insertBefore(wanted, at);
      continue;
    }
    if (found === at) at = at.nextSibling;
    else from.insertBefore(found, at);
    morph(found, wanted);
  }
  while (at) {
    const gone = at;
    at = at.nextSibling;
    gone.remove();
  }
}

export default {
  template: `<div @click="click" @submit="submit" @change="change"></div>`,
  props: { html: String },
  mounted() {
    this.$el.innerHTML = this.html;
  },
  watch: {
    html(html) {
      const wanted = document.createElement("div");
      wanted.innerHTML = html;
      const kept = this.$el.cloneNode(false);
      for (const { name, value } of Array.from(kept.attributes)) wanted.setAttribute(name, value);
      morph(this.$el, wanted);
    },
  },
  methods: {
    click(event) {
      const target = event.target.closest("[data-act]");
      if (!target || target.tagName === "INPUT" || target.tagName === "SELECT") return;
      event.preventDefault();
      window.rushesOpener = target; // a dialog that it opens gives the focus back to it
      this.$emit("act", { ...target.dataset });
    },
    change(event) {
      const target = event.target;
      if (target.dataset.act) this.$emit("act", { ...target.dataset, value: target.value, checked: target.checked });
      else if (target.form && target.form.dataset.submits) target.form.requestSubmit();
    },
    submit(event) {
      const form = event.target;
      if (!form.dataset.form) return;
      event.preventDefault();
      window.rushesOpener = event.submitter || document.activeElement;
      this.$emit("act", { act: form.dataset.form, ...Object.fromEntries(new FormData(form)) });
    },
  },
};
