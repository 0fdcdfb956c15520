// Drives the page's script with the little of a browser that it uses, against a server: node FILE PAGE BASE TOKEN
"use strict";
const fs = require("fs");
const [, , file, base, token] = process.argv;
const script = fs.readFileSync(file, "utf8").match(/<script[^>]*>([\s\S]*?)<\/script>/)[1];
const elements = {}, keys = {};

function element() {
  const listeners = {};
  return {
    children: [], clientWidth: 800, clientHeight: 600, listeners,
    parentElement: { clientWidth: 800, clientHeight: 600 },
    classList: { toggle() {} },
    append(child) { this.children.push(child); },
    addEventListener(name, heard) { listeners[name] = heard; },
    getContext() { return new Proxy({}, { get: (kept, name) => kept[name] ?? (() => {}) }); },
    setPointerCapture() {},
  };
}
global.document = {
  getElementById: (id) => (elements[id] ??= element()),
  createElement: element,
  addEventListener: (name, heard) => { keys[name] = heard; },
};
global.window = { addEventListener() {} };
global.location = { search: "?token=" + token };
global.Image = class { set src(path) { setTimeout(() => this.onload(), 0); } };
const asked = fetch;
global.fetch = (path, options) => asked(base + path, options);

async function until(text) {
  for (let tries = 0; tries < 500 && !elements.progress?.textContent?.includes(text); tries++) {
    await new Promise((done) => setTimeout(done, 10));
  }
  await new Promise((done) => setTimeout(done, 20));
}
const press = (key) => keys.keydown({ key, preventDefault() {} });
function drag(x1, y1, x2, y2) {
  elements.canvas.listeners.pointerdown({ pointerId: 1, offsetX: x1, offsetY: y1 });
  elements.canvas.listeners.pointermove({ offsetX: x2, offsetY: y2 });
  elements.canvas.listeners.pointerup({});
}

(async () => {
  new Function(script)();
  await until("image 1 of 4");
  press("Enter"); // as the model says;
  press("Enter"); // a second time before the answer is kept: of no image
  await until("image 2 of 4, 1 answered");
  drag(100, 100, 200, 150); // a new box of the first class,
  press("2"); // then of the second one
  drag(20, 30, 20, 30); // a click chooses the model's first box
  press("Delete");
  press("Enter");
  await until("image 3 of 4, 2 answered");
  press("ArrowLeft");
  console.log(elements.progress.textContent);
})();
