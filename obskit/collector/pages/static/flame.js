// Arrow keys inside the flame graphs of a page: one box of each can be reached by tab, the others from there.

import { onKeys } from "./keys.js";

class Flame {
  constructor(picture) {
    this.boxes = [...picture.querySelectorAll("a")].map((link) => {
      const { x, y, width } = link.firstElementChild;
      return { link, row: y.baseVal.value, from: x.baseVal.valueInSpecifiedUnits, width: width.baseVal.valueInSpecifiedUnits };
    });
    picture.addEventListener("focusin", (event) => { this.now = this.boxes.find(({ link }) => link === event.target) ?? this.now; });
    onKeys("flame graph, once it has the focus", {
      ArrowDown: () => this.go(this.below()[0]), ArrowUp: () => this.go(this.above()),
      ArrowRight: () => this.go(this.beside(1)), ArrowLeft: () => this.go(this.beside(-1)),
      Enter: () => false,
    }, picture);
  }

  // Boxes come row by row, those of a row from left to right: the widest first below what called them.
  below() {
    const { row, from, width } = this.now, next = this.boxes.find((box) => box.row > row)?.row;
    return this.boxes.filter((box) => box.row === next && box.from > from - 0.001 && box.from < from + width);
  }

  above() {
    const middle = this.now.from + this.now.width / 2;
    return this.boxes.findLast(({ row, from, width }) => row < this.now.row && from <= middle && middle <= from + width);
  }

  beside(by) {
    const box = this.boxes[this.boxes.indexOf(this.now) + by];
    return box?.row === this.now.row ? box : null;
  }

  go(box) {
    if (!box) return;
    this.now.link.setAttribute("tabindex", "-1");
    box.link.setAttribute("tabindex", "0");
    box.link.focus();
  }
}

for (const picture of document.querySelectorAll(".flame svg[role=group]")) new Flame(picture);
