"""How the page of search trees looks and moves: its style and its script, which are fixed texts."""

STYLE = """
body{margin:0;font:14px/1.4 system-ui,sans-serif;color:#222;background:#fff}
header{padding:8px 16px;border-bottom:1px solid #ddd}
h1{font-size:16px;margin:4px 0;white-space:pre-wrap}h2{font-size:15px;margin:12px 0 4px}
p{margin:4px 0}main{display:flex;align-items:flex-start}
main>div{flex:1;min-width:0;padding:0 16px}
.tree{overflow:auto;max-height:80vh;border:1px solid #ddd;margin:6px 0}
aside{flex:0 0 26em;position:sticky;top:0;max-height:100vh;overflow:auto;padding:8px 16px;
box-sizing:border-box;border-left:1px solid #ddd}
aside pre{white-space:pre-wrap;overflow-wrap:anywhere;margin:4px 0;padding:4px 6px;
background:#f6f6f6;font:13px/1.4 ui-monospace,monospace}
aside pre:last-child{background:#fff3cd}
label{margin-right:16px}
.scale svg{vertical-align:middle}.folded{display:none}
.fold:checked~.tree .folded{display:block}.fold:checked~.tree .whole{display:none}
.edge{fill:none;stroke:#bbb;stroke-width:1}.edge.chosen{stroke:#111;stroke-width:2.5}
.node{cursor:pointer;outline:none}.node circle{stroke:#666;stroke-width:1}
.node.chosen circle{stroke:#111;stroke-width:2.5}
.node.unscored circle{stroke-dasharray:2 2}
.node:focus circle,.node.kept circle{stroke:#d40;stroke-width:3}
text{font-size:10px;fill:#555;paint-order:stroke;stroke:#fff;stroke-width:2px}
.before{text-anchor:end}.goal text{fill:#000;font-weight:bold}.chosen text{fill:#000}
.stub path{fill:#999}.stub text{font-style:italic}
.later{opacity:.12}
"""

SCRIPT = """
const steps = JSON.parse(document.getElementById("steps").textContent);
const told = document.getElementById("told");
function add(kind, text) {
  const made = document.createElement(kind);
  made.textContent = text;
  told.append(made);
}
function tell(nodes, number) {
  told.replaceChildren();
  nodes[number][2].forEach(line => add("p", line));
  const path = [];
  for (let at = number; at !== null; at = nodes[at][0]) path.unshift(nodes[at][1]);
  path.slice(1).forEach(text => add("pre", text.trimEnd()));
}
document.querySelectorAll("section").forEach(section => {
  const nodes = steps[section.dataset.tree];
  let kept = null;
  section.querySelectorAll(".node").forEach(node => {
    const number = Number(node.dataset.n);
    node.addEventListener("mouseenter", () => tell(nodes, number));
    node.addEventListener("focus", () => tell(nodes, number));
    node.addEventListener("mouseleave", () => { if (kept !== null) tell(nodes, kept); });
    node.addEventListener("click", () => {
      section.querySelectorAll(".kept").forEach(other => other.classList.remove("kept"));
      node.classList.add("kept");
      kept = number;
      tell(nodes, number);
    });
  });
  const box = section.querySelector(".tree");
  function showRoot() {
    const roots = [...box.querySelectorAll('[data-n="0"]')].map(r => r.getBoundingClientRect());
    const root = roots.find(r => r.height > 0);
    if (root) box.scrollTop += root.top - box.getBoundingClientRect().top - box.clientHeight / 2;
  }
  section.querySelector(".fold").addEventListener("change", showRoot);
  showRoot();
  const slider = section.querySelector("input[type=range]");
  slider.addEventListener("input", () => {
    section.querySelector("output").textContent = slider.value;
    section.querySelectorAll("[data-o]").forEach(mark =>
      mark.classList.toggle("later", Number(mark.dataset.o) > Number(slider.value)));
  });
});
"""
