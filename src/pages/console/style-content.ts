// The rules for what single pages of the console have: charts, differences, the matrix of access rules, what happened, and
// the lanes of a flow.

export const contentStyle = `
/* charts (drawn by the server as SVG; the numbers stand beside them as text) */
.spark { width: 84px; height: 24px; } .spark polyline { fill: none; stroke: var(--c-main); stroke-width: 1.5; vector-effect: non-scaling-stroke; stroke-linejoin: round; }
.spark .area { fill: var(--accent-soft); stroke: none; } .spark.dead polyline { stroke: var(--c-mute); } .spark .err { fill: var(--c-bad); }
.hist { width: 100%; height: 96px; } .hist .a { fill: var(--c-main); } .hist .d { fill: var(--c-warn); } .hist .e { fill: var(--c-bad); } .hist .grid { stroke: var(--line); stroke-width: 1; vector-effect: non-scaling-stroke; } .hist .pick { fill: var(--selected); }
.axis { display: flex; justify-content: space-between; color: var(--text-3); font-size: var(--t-xs); line-height: 16px; margin-top: 4px; }
.legend { display: flex; flex-wrap: wrap; gap: 4px 16px; font-size: var(--t-sm); color: var(--text-2); }
.legend span::before { content: ""; display: inline-block; width: 9px; height: 9px; margin-inline-end: 6px; border-radius: 2px; background: var(--c-main); }
.legend .d::before { background: var(--c-warn); transform: rotate(45deg) scale(0.85); } .legend .e::before { background: var(--c-bad); border-radius: var(--r-full); }
.funnel { display: grid; grid-template-columns: repeat(5, minmax(0, 1fr)); }
.funnel li { display: grid; align-content: start; gap: 2px; padding: 0 12px; border-inline-start: 1px solid var(--line); }
.funnel li:first-child { border: 0; padding-inline-start: 0; }
.funnel .n { font-size: var(--t-xl); line-height: 28px; font-weight: var(--w-strong); letter-spacing: -0.02em; }
.funnel .what { color: var(--text-2); font-size: var(--t-sm); }
.funnel svg { width: 100%; height: 6px; margin-bottom: 10px; border-radius: var(--r-full); overflow: hidden; } .funnel rect { fill: var(--c-main); } .funnel .lost { fill: var(--sunk); } .funnel .gone { fill: var(--c-warn); }
.funnel .drop { font-size: var(--t-xs); line-height: 16px; }

/* word-level diff */
.diff { display: grid; grid-template-columns: 1fr 1fr; border-top: 1px solid var(--line); }
.diff > div { padding: 12px 16px 14px; min-width: 0; } .diff > div + div { border-inline-start: 1px solid var(--line); }
.diff h3 { color: var(--text-2); font-weight: var(--w-medium); font-size: var(--t-xs); line-height: 16px; margin-bottom: 6px; }
.diff p, .diff pre { font-size: var(--t-sm); line-height: 22px; } .diff pre { margin-top: 8px; font-size: var(--t-xs); line-height: 20px; white-space: pre-wrap; overflow-wrap: anywhere; color: var(--text-2); }
del, ins { padding: 1px 2px; border-radius: 3px; -webkit-box-decoration-break: clone; box-decoration-break: clone; }
del { background: var(--bad-soft); color: var(--bad); text-decoration: line-through; text-decoration-thickness: 1px; }
ins { background: var(--ok-soft); color: var(--ok); text-decoration: underline; text-decoration-thickness: 1px; text-underline-offset: 3px; font-weight: var(--w-medium); }

/* access matrix: every cell a native select, so the keyboard works and no script is needed */
.matrix th[scope="col"] { min-width: 116px; text-align: start; } .matrix td { padding-block: 5px; }
.matrix tbody th { min-width: 220px; }
.matrix .sub { font-weight: var(--w-regular); max-width: 40ch; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.matrix tr > :first-child { position: sticky; left: 0; z-index: 1; background: var(--surface); }
.matrix tr.group > :first-child { background: var(--sunk); } .matrix tr.mark > * { background: var(--warn-soft); }

.pick { width: 100%; min-height: 30px; padding: 3px 24px 3px 28px; border: 1px solid var(--line-2); border-radius: var(--r-control); background: var(--surface); color: var(--text); font: var(--w-medium) var(--t-sm)/20px var(--sans); appearance: none; cursor: pointer; background-image: linear-gradient(45deg, transparent 50%, var(--text-3) 50%), linear-gradient(135deg, var(--text-3) 50%, transparent 50%); background-size: 4px 4px; background-position: right 12px center, right 8px center; background-repeat: no-repeat; }
.cell { position: relative; display: block; } .cell > .m { display: none; position: absolute; top: 50%; left: 8px; margin-top: -7px; pointer-events: none; } .cell > .m > .i { width: 14px; height: 14px; stroke-width: 1.75; }
.cell:has(option[value="allow"]:checked) .m-allow, .cell:has(option[value="never"]:checked) .m-never { display: block; } .cell .m-allow { color: var(--ok); } .cell .m-never { color: var(--text-3); }
.cell:has(option[value="never"]:checked) .pick { color: var(--text-2); background-color: var(--sunk); border-color: var(--line); } .cell.changed .pick { border-color: var(--accent); box-shadow: 0 0 0 1px var(--accent); }
.matrix td .sub { display: block; max-width: 16ch; }
.savebar { position: sticky; bottom: 0; z-index: 3; display: flex; flex-wrap: wrap; align-items: center; justify-content: space-between; gap: 8px 16px; margin: var(--s4) 0 0; padding: 10px 12px 10px 16px; border: 1px solid var(--line-2); border-radius: var(--r-card); background: var(--surface); box-shadow: var(--float); font-size: var(--t-sm); } .savebar > span:first-child { flex: 1 1 320px; min-width: 0; }
.explain { display: grid; grid-template-columns: 1fr 1fr auto; gap: 12px; align-items: end; } .note .trace { margin-top: 8px; } .card-body > details .trace { margin-top: 8px; }

.diff.alone { grid-template-columns: minmax(0, 1fr); } .diff .note { margin-top: 8px; } .rest { border-top: 1px solid var(--line); } .rest > summary { padding: 10px 16px; }

/* activity */
.with-drawer { display: grid; grid-template-columns: minmax(0, 1fr) 372px; align-items: start; }
.with-drawer > .drawer { border-inline-start: 1px solid var(--line); align-self: stretch; }
.drawer-head { display: flex; align-items: flex-start; justify-content: space-between; gap: 12px; padding: 14px 16px 12px; border-bottom: 1px solid var(--line); }
.drawer section { padding: 14px 16px; border-bottom: 1px solid var(--line); } .drawer section:last-child { border: 0; }
.drawer section h2 { margin-bottom: 8px; color: var(--text-2); font-weight: var(--w-medium); font-size: var(--t-xs); line-height: 16px; }
form.stack > [type="hidden"] + .field { margin-top: 0; } textarea.input { min-height: 96px; resize: vertical; } textarea.code { font-family: var(--mono); font-size: var(--t-xs); } .adding + .adding { margin-top: var(--s4); }
.trace { display: grid; gap: 8px; font-size: var(--t-sm); } .trace li { display: grid; grid-template-columns: 16px minmax(0, 1fr); gap: 10px; } .trace .i { margin-top: 2px; }
.query { display: flex; flex-wrap: wrap; align-items: center; gap: 6px; flex: 1 1 320px; min-height: var(--control); padding: 3px 6px 3px 10px; border: 1px solid var(--edge); border-radius: var(--r-control); background: var(--surface); }
.query:focus-within { outline: 2px solid var(--accent); outline-offset: 0; border-color: var(--accent); }
.query input { flex: 1 1 120px; min-width: 80px; border: 0; background: none; color: var(--text); font: var(--t-sm)/24px var(--sans); outline: none; }
.query > .i { color: var(--text-3); }
.row.between { justify-content: space-between; } .gap-bottom { margin-block-end: 12px; } .tokens { margin-top: calc(-1 * var(--s2)); }
.token { display: inline-flex; align-items: center; gap: 2px; padding: 0 2px 0 7px; border-radius: var(--r-chip); background: var(--accent-soft); border: 1px solid var(--accent-line); color: var(--text); font-size: var(--t-xs); line-height: 22px; white-space: normal; overflow-wrap: anywhere; }
.token b { font-weight: var(--w-regular); color: var(--text-2); margin-inline-end: 3px; } .token a { display: grid; place-items: center; width: 20px; height: 20px; color: var(--text-2); }

/* flows: swim lanes. Eight half-columns, so that lane centres sit on lines 2, 4, 6 and 8 */
.flow { display: grid; grid-template-columns: 96px minmax(0, 1fr) minmax(0, 520px); }
.flow > li { display: grid; grid-column: 1 / -1; grid-template-columns: subgrid; border-bottom: 1px solid var(--line); }
.flow > li:last-child { border: 0; }
.flow .at { padding: 11px 0 11px 16px; color: var(--text-3); font-size: var(--t-xs); line-height: 18px; } .flow .at b { display: block; color: var(--text-2); font-weight: var(--w-medium); white-space: nowrap; }
.flow .say { padding: 10px 16px 10px 8px; font-size: var(--t-sm); min-width: 0; } .flow .say .more { margin-top: 2px; font-weight: var(--w-regular); font-size: var(--t-xs); color: var(--text-3); }
.lanes { position: relative; display: grid; grid-template-columns: repeat(8, minmax(0, 1fr)); align-items: center; align-self: stretch; background-image: linear-gradient(var(--line), var(--line)), linear-gradient(var(--line), var(--line)), linear-gradient(var(--line), var(--line)), linear-gradient(var(--line), var(--line)); background-size: 1px 100%; background-repeat: no-repeat; background-position: 12.5% 0, 37.5% 0, 62.5% 0, 87.5% 0; }
.flow .lanes-head { display: grid; grid-template-columns: repeat(4, minmax(0, 1fr)); color: var(--text-2); font-size: var(--t-xs); font-weight: var(--w-medium); text-align: center; padding: 10px 0; }
.flow > .flow-head { background: var(--sunk); border-radius: var(--r-card) var(--r-card) 0 0; color: var(--text-2); font-size: var(--t-xs); font-weight: var(--w-medium); } .flow-head > * { padding-block: 10px; }
.arrow { grid-row: 1; position: relative; display: block; padding: 0 10px 5px; color: var(--text-2); font: var(--t-xs)/16px var(--mono); letter-spacing: -0.04em; font-size: 11px; text-align: center; border-bottom: 1.5px solid var(--c-main); margin-top: -2px; white-space: nowrap; }
.arrow.auth { border-color: var(--auth); }
.arrow::after, .arrow::before { content: ""; position: absolute; bottom: -5px; }
.arrow::after { border: solid transparent; border-width: 4.5px 0 4.5px 7px; border-left-color: var(--c-main); right: 0; }
.arrow.back::after { right: auto; left: 0; border-width: 4.5px 7px 4.5px 0; border-right-color: var(--c-main); border-left-color: transparent; }
.arrow.auth::after { border-left-color: var(--auth); } .arrow.auth.back::after { border-right-color: var(--auth); border-left-color: transparent; }
.arrow::before { width: 8px; height: 8px; left: -4px; bottom: -4.75px; border-radius: var(--r-full); background: var(--surface); border: 1.5px solid var(--c-main); } .arrow.auth::before { border-color: var(--auth); } .arrow.back::before { left: auto; right: -4px; }
.arrow.lost { border-bottom-style: dashed; border-color: var(--bad-dot); color: var(--bad); } .arrow.lost::after { border-left-color: var(--bad-dot); } .arrow.lost::before { border-color: var(--bad-dot); }
.arrow.never { opacity: 1; border-color: var(--c-mute); border-bottom-style: dashed; color: var(--text-3); } .arrow.never::after { border-left-color: var(--c-mute); } .arrow.never::before { border-color: var(--c-mute); }
.flow > li:not(.flow-head) { min-height: 46px; }
.c12 { grid-column: 2 / 4; } .c23 { grid-column: 4 / 6; } .c24 { grid-column: 4 / 8; } .c13 { grid-column: 2 / 6; }
.self { grid-row: 1; justify-self: center; grid-column: 3 / 5; padding: 2px 8px; border: 1.5px solid var(--auth); border-radius: var(--r-full); background: var(--surface); color: var(--auth); font: 11px/16px var(--mono); letter-spacing: -0.04em; white-space: nowrap; }
.self.lost { border-color: var(--bad-dot); border-style: dashed; color: var(--bad); background: var(--bad-soft); }
.gap { background: var(--bad-soft); } .gap .lanes { background-size: 1px 8px; background-repeat: repeat-y; background-image: linear-gradient(var(--bad-line) 4px, transparent 4px), linear-gradient(var(--bad-line) 4px, transparent 4px), linear-gradient(var(--bad-line) 4px, transparent 4px), linear-gradient(var(--bad-line) 4px, transparent 4px); }
.gap .at b { color: var(--bad); } .gap .arrow::before { background: var(--bad-soft); }
.flow .via { display: none; }

/* lists with a menu in each row */
@media (min-width: 1081px), (max-width: 720px) { .open-menus { overflow: visible; } }
.open-menus .menu { display: inline-block; } .open-menus .pop { white-space: normal; text-align: start; } .open-menus .pop .row { gap: 8px; } .open-menus .pop form { display: inline; }

/* settings */
.settings { display: grid; grid-template-columns: 168px minmax(0, 1fr); gap: 32px; align-items: start; }
.subnav { position: sticky; top: 20px; } .subnav a { display: block; padding: 5px 10px; border-radius: var(--r-control); color: var(--text-2); font-size: var(--t-sm); font-weight: var(--w-medium); } .subnav a:hover { background: var(--sunk); color: var(--text); text-decoration: none; }
.set > dt .sub { display: block; color: var(--text-3); font-size: var(--t-xs); line-height: 16px; font-weight: var(--w-regular); overflow-wrap: anywhere; } .set .tested, .provider .tested { margin-top: 2px; } .set .tested .status, .provider .tested .status { align-items: baseline; white-space: normal; }
.list > li.provider { display: block; padding: 12px 16px; } .provider > * + * { margin-top: 4px; } .provider details { margin-top: 6px; } .provider .set { padding: 6px 0; } .list + .plain-set:not(:empty) { border-top: 1px solid var(--line); }
.card[id] { scroll-margin-top: 20px; } .card[id]:target { border-color: var(--accent); }
.set { display: grid; grid-template-columns: minmax(0, 190px) minmax(0, 1fr) auto; gap: 2px 20px; align-items: start; padding: 10px 16px; border-bottom: 1px solid var(--line); font-size: var(--t-sm); }
.set:last-child { border: 0; } .set > dt { font-weight: var(--w-medium); } .set p { color: var(--text-2); } .set dd { min-width: 0; overflow-wrap: anywhere; }
.from { color: var(--text-3); font-size: var(--t-xs); line-height: 20px; text-align: end; white-space: nowrap; } .from code { font-size: var(--t-xs); }

.actor { display: flex; gap: 12px; padding: 12px 14px; border: 1px solid var(--line); border-radius: var(--r-card); background: var(--sunk); } .actor > .i { margin-top: 2px; color: var(--text-2); } .actor p { color: var(--text-2); font-size: var(--t-sm); }
.actor.admin { border-color: var(--warn-line); background: var(--warn-soft); } .actor.admin > .i { color: var(--warn); }
`
