// The stylesheet of the console, as text, as that of the other pages is (pages/assets.ts): tokens first, then controls, the
// frame, what stands in it, and what changes on narrow screens.
import { tokens } from '../tokens.ts'
import { contentStyle } from './style-content.ts'

const base = `
*, *::before, *::after { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
body { margin: 0; background: var(--canvas); color: var(--text); font: var(--w-regular) var(--t-md)/20px var(--sans); font-variant-numeric: tabular-nums; -webkit-font-smoothing: antialiased; overflow-wrap: anywhere; }
h1, h2, h3, h4, p, dl, dd, ol, ul, pre, figure, fieldset, legend { margin: 0; padding: 0; border: 0; min-width: 0; }
h1 { font-size: var(--t-xl); line-height: 28px; font-weight: var(--w-strong); letter-spacing: -0.014em; text-wrap: balance; }
h2 { font-size: var(--t-md); line-height: 20px; font-weight: var(--w-strong); letter-spacing: -0.005em; }
h3 { font-size: var(--t-sm); line-height: 20px; font-weight: var(--w-strong); }
h1:focus { outline: none; }
ul, ol { list-style: none; }
a { color: var(--accent); text-decoration: none; }
a:hover { text-decoration: underline; text-underline-offset: 2px; }
p a:not(.btn), dd a:not(.btn), .note a:not(.btn), .savebar a:not(.btn), .list .muted a { text-decoration: underline; text-decoration-color: var(--accent-line); text-underline-offset: 2px; }
p a:not(.btn):hover, dd a:not(.btn):hover { text-decoration-color: currentColor; }
b, strong { font-weight: var(--w-strong); }
code, pre, .mono { font-family: var(--mono); font-size: 0.86em; font-variant-ligatures: none; letter-spacing: -0.02em; }
bdi { unicode-bidi: isolate; }
time { white-space: nowrap; }
svg { display: block; flex: none; }
.i { width: 16px; height: 16px; fill: none; stroke: currentColor; stroke-width: 1.5; stroke-linecap: round; stroke-linejoin: round; }
.i.sm { width: 14px; height: 14px; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; border-radius: var(--r-chip); }
.vh { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
.skip { position: absolute; left: 12px; top: -60px; z-index: 9; padding: 8px 12px; border-radius: var(--r-control); background: var(--fill); color: var(--on-fill); font-weight: var(--w-medium); }
.skip:focus { top: 8px; }
.muted { color: var(--text-2); } .faint { color: var(--text-3); } .sm { font-size: var(--t-sm); } .xs { font-size: var(--t-xs); line-height: 16px; }
.num { text-align: end; white-space: nowrap; } .nowrap { white-space: nowrap; } .strong { font-weight: var(--w-medium); }
.bad-text { color: var(--bad); } .warn-text { color: var(--warn); } .ok-text { color: var(--ok); }
.only-narrow { display: none; }
.stack > * + * { margin-block-start: var(--s4); }
.row { display: flex; flex-wrap: wrap; align-items: center; gap: var(--s2) var(--s3); }

/* controls */
.btn { display: inline-flex; align-items: center; justify-content: center; gap: 6px; min-height: var(--control); padding: 6px 12px; border: 1px solid var(--line-2); border-radius: var(--r-control); background: var(--surface); color: var(--text); box-shadow: var(--lift); font: var(--w-medium) var(--t-sm)/20px var(--sans); white-space: nowrap; cursor: pointer; transition: background-color var(--quick), border-color var(--quick); }
.btn:hover { background: var(--hover); text-decoration: none; }
.btn.primary { background: var(--fill); border-color: var(--fill); color: var(--on-fill); }
.btn.primary:hover { background: var(--fill-hover); border-color: var(--fill-hover); }
.btn.danger { color: var(--bad); }
.btn.danger:hover { background: var(--bad-soft); border-color: var(--bad-line); }
.btn.destroy { background: var(--danger-fill); border-color: var(--danger-fill); color: var(--on-danger); }
.btn.destroy:hover { background: var(--danger-fill-hover); }
.btn.quiet { border-color: transparent; background: transparent; box-shadow: none; color: var(--text-2); }
.btn.quiet:hover { background: var(--sunk); color: var(--text); }
.btn.sm { min-height: 28px; padding: 3px 10px; }
.btn.icon { width: 28px; min-height: 28px; padding: 0; }
.btn.wide { width: 100%; }
.btn:disabled, .btn[aria-disabled="true"] { background: var(--sunk); border-color: var(--line); color: var(--text-3); box-shadow: none; cursor: not-allowed; }
.btns { display: flex; flex-wrap: wrap; gap: var(--s2); }

label, .label { display: block; font-size: var(--t-sm); line-height: 20px; font-weight: var(--w-medium); }
.input, select.input { width: 100%; min-height: var(--control); padding: 6px 10px; border: 1px solid var(--edge); border-radius: var(--r-control); background: var(--surface); color: var(--text); font: var(--t-sm)/20px var(--sans); }
select.input { appearance: none; padding-inline-end: 28px; background-image: linear-gradient(45deg, transparent 50%, var(--text-3) 50%), linear-gradient(135deg, var(--text-3) 50%, transparent 50%); background-size: 5px 5px; background-position: right 15px center, right 10px center; background-repeat: no-repeat; cursor: pointer; }
.input::placeholder { color: var(--text-3); opacity: 1; }
.input:focus-visible { outline-offset: 0; border-color: var(--accent); }
.input[aria-invalid="true"] { border-color: var(--bad); }
.field { display: grid; gap: 4px; } .field .hint { color: var(--text-2); font-size: var(--t-sm); }
.field .error { display: flex; gap: 6px; color: var(--bad); font-size: var(--t-sm); } .field .error .i { margin-top: 2px; }
.search { position: relative; display: block; }
.search > .i { position: absolute; left: 10px; top: 50%; margin-top: -8px; color: var(--text-3); pointer-events: none; }
.search .input { padding-inline-start: 32px; border-color: var(--line-2); }
.check { width: 16px; height: 16px; margin: 2px 0 0; accent-color: var(--fill); } .also { display: grid; grid-template-columns: 16px minmax(0, 1fr); gap: 10px; margin-bottom: 12px; font-size: var(--t-sm); }

a.seg-link { display: inline-grid; place-items: center; min-height: 28px; padding: 2px 10px; border-radius: var(--r-control); border: 1px solid transparent; color: var(--text-2); font-size: var(--t-sm); font-weight: var(--w-medium); }
a.seg-link[aria-current] { background: var(--surface); border-color: var(--line-2); color: var(--text); box-shadow: var(--lift); }

/* words with a colour: a mark and a word, never colour alone */
.status { display: inline-flex; align-items: center; gap: 7px; font-size: var(--t-sm); line-height: 20px; white-space: nowrap; }
.status::before { content: ""; flex: none; width: 8px; height: 8px; border-radius: var(--r-full); background: var(--c-mute); }
.status.ok::before { background: var(--ok-dot); }
.status.warn::before { background: transparent; width: 0; height: 0; border-radius: 0; border: solid transparent; border-width: 0 5px 9px; border-bottom-color: var(--warn-dot); }
.status.bad::before { border-radius: 2px; background: var(--bad-dot); }
.status.off::before { background: transparent; border: 1.5px solid var(--edge); }
.status.bad { color: var(--bad); } .status.warn { color: var(--warn); }
.tag { display: inline-flex; align-items: center; gap: 4px; padding: 0 6px; border: 1px solid var(--line); border-radius: var(--r-chip); background: var(--surface); color: var(--text-2); font-size: var(--t-xs); line-height: 18px; font-weight: var(--w-medium); white-space: nowrap; vertical-align: 1px; }
.tag.ok { border-color: var(--ok-line); background: var(--ok-soft); color: var(--ok); }
.tag.warn { border-color: var(--warn-line); background: var(--warn-soft); color: var(--warn); }
.tag.bad { border-color: var(--bad-line); background: var(--bad-soft); color: var(--bad); }
.tag.auth { border-color: var(--auth-line); background: var(--auth-soft); color: var(--auth); }
.tag.accent { border-color: var(--accent-line); background: var(--accent-soft); color: var(--accent); }
.tag .i { width: 12px; height: 12px; stroke-width: 1.75; }
.tags { display: flex; flex-wrap: wrap; gap: 4px; }
.note { display: flex; gap: 10px; padding: 10px 12px; border: 1px solid var(--line); border-radius: var(--r-control); background: var(--sunk); font-size: var(--t-sm); line-height: 20px; }
.note > .i { margin-top: 2px; } .note > div { min-width: 0; }
.note.warn { border-color: var(--warn-line); background: var(--warn-soft); } .note.warn > .i { color: var(--warn); }
.note.bad { border-color: var(--bad-line); background: var(--bad-soft); } .note.bad > .i { color: var(--bad); }
.note.ok { border-color: var(--ok-line); background: var(--ok-soft); } .note.ok > .i { color: var(--ok); }
.note.accent { border-color: var(--accent-line); background: var(--accent-soft); } .note.accent > .i { color: var(--accent); }
.tile { display: inline-grid; place-items: center; flex: none; width: 32px; height: 32px; border: 1px solid var(--line); border-radius: var(--r-tile); background: var(--surface); color: var(--text-2); font-size: var(--t-sm); font-weight: var(--w-strong); }
.tile.service { background: var(--accent-soft); border-color: var(--accent-line); color: var(--accent); }
.tile.client { background: var(--auth-soft); border-color: var(--auth-line); color: var(--auth); }
.tile.person { border-radius: var(--r-full); background: var(--sunk); }
.copy { display: block; min-width: 0; padding: 6px 10px; border: 1px solid var(--line); border-radius: var(--r-control); background: var(--sunk); color: var(--text); font-size: var(--t-xs); line-height: 20px; white-space: pre-wrap; overflow-wrap: anywhere; user-select: all; }
.copyable { position: relative; min-width: 0; } .copyable > .copy { padding-inline-end: 76px; }
.copyable > .slim { position: absolute; top: 3px; inset-inline-end: 3px; min-height: 28px; padding: 2px 10px; border: 1px solid var(--line-2); border-radius: var(--r-control); background: var(--surface); color: var(--text-2); font: var(--w-medium) var(--t-xs)/20px var(--sans); cursor: pointer; }
.cli .copy { display: inline-block; padding: 4px 8px; } .cli .copyable { display: flex; align-items: center; gap: 6px; } .cli .copyable > .copy { padding-inline-end: 8px; } .cli .copyable > .slim { position: static; flex: none; }

/* surfaces */
.card { border: 1px solid var(--line); border-radius: var(--r-card); background: var(--surface); }
.card-head { display: flex; flex-wrap: wrap; align-items: center; justify-content: space-between; gap: var(--s2) var(--s4); padding: 12px 16px; border-bottom: 1px solid var(--line); }
.card-head p { color: var(--text-2); font-size: var(--t-sm); }
.card-body { padding: 16px; }
.card-foot { display: flex; flex-wrap: wrap; align-items: center; justify-content: space-between; gap: var(--s2) var(--s4); padding: 10px 16px; border-top: 1px solid var(--line); color: var(--text-2); font-size: var(--t-sm); }
.kv { display: grid; grid-template-columns: minmax(96px, max-content) minmax(0, 1fr); gap: 8px 20px; font-size: var(--t-sm); }
.kv dt { color: var(--text-2); } .kv dd { min-width: 0; overflow-wrap: anywhere; }
.steps { counter-reset: step; display: grid; gap: 10px; }
.steps > li { position: relative; padding-inline-start: 32px; counter-increment: step; }
.steps > li::before { content: counter(step); position: absolute; left: 0; top: -1px; width: 22px; height: 22px; border: 1px solid var(--line-2); border-radius: var(--r-full); color: var(--text-2); font-size: var(--t-xs); line-height: 20px; text-align: center; font-weight: var(--w-medium); }
details > summary { cursor: pointer; border-radius: var(--r-chip); list-style: none; }
details > summary::-webkit-details-marker { display: none; }
summary .chev { transition: transform var(--quick); color: var(--text-3); }
details[open] > summary .chev { transform: rotate(90deg); }
.more { display: inline-flex; align-items: center; gap: 4px; color: var(--text-2); font-size: var(--t-sm); font-weight: var(--w-medium); }
.more:hover { color: var(--text); }
.menu { position: relative; }
.menu > .pop { position: absolute; z-index: 5; right: 0; top: calc(100% + 4px); min-width: 180px; padding: 4px; border: 1px solid var(--line-2); border-radius: var(--r-card); background: var(--surface); box-shadow: var(--float); }
.menu > .pop a, .menu > .pop button { display: block; width: 100%; padding: 6px 10px; border: 0; border-radius: var(--r-chip); background: none; color: var(--text); font: var(--t-sm)/20px var(--sans); text-align: start; }
.menu > .pop a:hover { background: var(--hover); text-decoration: none; }
.empty { display: grid; justify-items: center; gap: 12px; padding: 44px 24px 40px; text-align: center; }
.empty .tile { color: var(--text-3); background: var(--sunk); }
.empty p { max-width: 46ch; color: var(--text-2); text-wrap: balance; } .empty h2 { font-size: var(--t-lg); line-height: 24px; }
.cli { display: flex; flex-wrap: wrap; align-items: center; gap: 4px 10px; margin-block-start: var(--s6); padding-block-start: var(--s4); border-top: 1px solid var(--line); color: var(--text-3); font-size: var(--t-xs); }
.cli code { color: var(--text-2); font-size: var(--t-xs); user-select: all; overflow-wrap: anywhere; }
.cli .btn { color: var(--text-3); }

/* tables */
.scroll { overflow-x: auto; border-radius: inherit; }
.table { width: 100%; border-collapse: collapse; font-size: var(--t-sm); line-height: 20px; }
.table caption { text-align: start; }
.table th { padding: 8px 12px; color: var(--text-2); font-size: var(--t-xs); line-height: 16px; font-weight: var(--w-medium); text-align: start; white-space: nowrap; border-bottom: 1px solid var(--line); vertical-align: bottom; }
.table th.num, .table td.num { text-align: end; }
.table td, .table tbody th { padding: 10px 12px; border-bottom: 1px solid var(--line); vertical-align: middle; overflow-wrap: break-word; } .table bdi, .table code { overflow-wrap: anywhere; }
.table tbody th { color: inherit; font-size: inherit; line-height: inherit; font-weight: inherit; }
.table tbody tr:last-child > * { border-bottom: 0; }
.table tr > :first-child { padding-inline-start: 16px; } .table tr > :last-child { padding-inline-end: 16px; }
.table tbody tr:hover > * { background: var(--hover); }
.table tr[aria-selected="true"] > * { background: var(--selected) !important; }
.table .cell-name { display: flex; align-items: center; gap: 12px; min-width: 0; }
.table .cell-name > div { min-width: 0; }
.table .cell-name a.name, .table a.strong, .list a.strong { color: var(--text); font-weight: var(--w-medium); }
.table .sub { display: block; color: var(--text-3); font-size: var(--t-xs); line-height: 16px; }
.table .sub code { letter-spacing: -0.03em; font-size: 11.5px; }
.table.tight td, .table.tight tbody th { padding-block: 6px; }
.table .group th { padding-block: 7px; background: var(--sunk); color: var(--text-2); font-size: var(--t-xs); line-height: 16px; font-weight: var(--w-medium); border-bottom: 1px solid var(--line); }
.table tr.group:hover > * { background: var(--sunk); }
`

const frame = `
/* console frame */
.console { display: grid; grid-template-columns: 228px minmax(0, 1fr); min-height: 100vh; min-height: 100dvh; }
.side { position: sticky; top: 0; align-self: start; display: flex; flex-direction: column; height: 100vh; height: 100dvh; padding: 14px 12px 12px; border: 0; background: var(--canvas); color: inherit; overflow-y: auto; margin: 0; inset: auto; width: auto; max-width: none; max-height: none; }
.side[popover]:not(:popover-open) { display: flex; }
.org { display: flex; align-items: center; gap: 10px; padding: 2px 8px 14px; color: var(--text); font-weight: var(--w-strong); }
.org:hover { text-decoration: none; } .org .logo { width: 24px; height: 24px; }
.org small { display: block; color: var(--text-3); font-size: var(--t-xs); line-height: 14px; font-weight: var(--w-regular); }
.nav h2 { padding: 14px 8px 4px; color: var(--text-3); font-size: var(--t-xs); line-height: 16px; font-weight: var(--w-medium); letter-spacing: 0; }
.nav a { display: flex; align-items: center; gap: 10px; min-height: 32px; padding: 5px 8px; border-radius: var(--r-control); color: var(--text-2); font-size: var(--t-sm); font-weight: var(--w-medium); }
.nav a:hover { background: var(--sunk); color: var(--text); text-decoration: none; }
.nav a[aria-current="page"] { background: var(--surface); color: var(--text); box-shadow: 0 0 0 1px var(--line), var(--lift); }
.nav .flag { display: inline-flex; align-items: center; gap: 5px; margin-inline-start: auto; font-size: var(--t-xs); }
.nav .flag .i { width: 13px; height: 13px; stroke-width: 1.75; }
.side-foot { margin-top: auto; padding: 16px 8px 2px; color: var(--text-3); font-size: var(--t-xs); line-height: 16px; }
.side-foot a { color: inherit; }
.top { display: flex; align-items: center; gap: var(--s3); min-height: 52px; padding: 8px 32px; border-bottom: 1px solid var(--line); background: var(--surface); }
.top .search { flex: 0 1 280px; margin-inline-end: auto; }
.top .menu-btn { display: none; }
.top > .status > span { white-space: nowrap; }
.who { display: inline-flex; align-items: center; gap: 8px; color: var(--text); font-size: var(--t-sm); }
.who:hover { text-decoration: none; }
.who .tile { width: 28px; height: 28px; font-size: var(--t-xs); }
.top .fill, .bar .fill { margin-inline-start: auto; }
.org .logo svg { width: 24px; height: 24px; color: var(--accent); }
.page { min-width: 0; border-inline-start: 1px solid var(--line); }
.card.scroll { border-radius: var(--r-card); }
.content { max-width: 1180px; padding: 24px 32px 40px; margin: 0 auto; }
.head { display: flex; flex-wrap: wrap; align-items: flex-start; justify-content: space-between; gap: 12px 24px; margin-block-end: var(--s5); }
.head p { margin-top: 2px; color: var(--text-2); max-width: 68ch; }
.crumb { display: flex; align-items: center; gap: 6px; margin-bottom: 6px; color: var(--text-3); font-size: var(--t-sm); } .crumb a { color: var(--text-2); }
.tabs { display: flex; gap: 4px; margin: 0 0 var(--s5); border-bottom: 1px solid var(--line); overflow-x: auto; scrollbar-width: none; }
.tabs a { flex: none; padding: 8px 10px 10px; border-bottom: 2px solid transparent; margin-bottom: -1px; color: var(--text-2); font-size: var(--t-sm); font-weight: var(--w-medium); }
.tabs a:hover { color: var(--text); text-decoration: none; } .tabs a[aria-current] { color: var(--text); border-color: var(--fill); }
.tabs a:focus-visible { outline-offset: -2px; }
.tabs .count { color: var(--text-3); font-weight: var(--w-regular); margin-inline-start: 4px; }
.cols { display: grid; gap: var(--s5); grid-template-columns: minmax(0, 1.65fr) minmax(0, 1fr); align-items: start; }
.cols.even { grid-template-columns: repeat(2, minmax(0, 1fr)); }
.health { display: flex; flex-wrap: wrap; gap: 4px 20px; }
.todo > li { display: grid; grid-template-columns: 20px minmax(0, 1fr) auto; gap: 4px 12px; align-items: center; padding: 12px 16px; border-bottom: 1px solid var(--line); }
.todo > li:last-child { border: 0; }
.todo > li > :first-child { align-self: start; margin-top: 2px; } .todo p { color: var(--text-2); font-size: var(--t-sm); }
.list > li { display: flex; align-items: center; gap: 12px; min-height: var(--row); padding: 8px 16px; border-bottom: 1px solid var(--line); font-size: var(--t-sm); }
.list > li:last-child { border: 0; } .list .end.row { justify-content: flex-end; } .list .end { margin-inline-start: auto; text-align: end; white-space: nowrap; }
.bar { display: flex; flex-wrap: wrap; align-items: center; gap: var(--s2); margin-block-end: var(--s4); }
.bar .search { flex: 1 1 240px; } .calls { flex-wrap: nowrap; gap: 8px; } .calls .spark { width: 64px; } .verdict { display: inline-flex; align-items: center; gap: 6px; } .pop.ask { width: min(340px, 80vw); padding: 14px 16px; } .pop.ask p { margin-bottom: 12px; font-size: var(--t-sm); } .menu > .pop.ask .btn { width: auto; border: 1px solid transparent; background: var(--danger-fill); color: var(--on-danger); text-align: center; }
.recipes { columns: 2 360px; column-gap: var(--s4); } .recipe { display: grid; gap: 8px; padding: 14px 16px; margin-bottom: var(--s4); break-inside: avoid; } .plain { list-style: decimal; padding-inline-start: 20px; } .stderr { max-height: 360px; overflow: auto; padding: 10px 12px; border-radius: var(--r-control); background: var(--sunk); white-space: pre-wrap; overflow-wrap: anywhere; }
summary.btn { list-style: none; } code.url { color: var(--text-2); }
.input.half { width: auto; flex: 0 1 200px; }
`

const narrow = `
@media (max-width: 1080px) {
  .cols, .with-drawer { grid-template-columns: minmax(0, 1fr); }
  .flow { grid-template-columns: 96px minmax(0, 1fr) minmax(0, 420px); }
}
@media (max-width: 860px) {
  .flow { grid-template-columns: minmax(0, 1fr); }
  .flow > li { grid-template-columns: minmax(0, 1fr); padding: 10px 14px; } .flow > li > * { padding: 0 !important; } .flow .at { display: flex; gap: 8px; } .flow .at b { display: inline; } .flow .lanes, .flow .lanes-head, .flow > .flow-head { display: none; }
  .flow .via { display: block; order: -1; color: var(--text-2); font-size: var(--t-xs); font-weight: var(--w-medium); }
}
@media (max-width: 720px) {
  .page { border: 0; } .list .end { min-width: 96px; max-width: 45%; white-space: normal; }
  body { --control: 40px; }
  .only-narrow { display: initial; } .only-wide { display: none !important; }
  .console { display: block; }
  .side { position: static; height: auto; }
  @supports selector(:popover-open) {
    .side { position: fixed; inset: 0 auto 0 0; width: 272px; height: 100dvh; background: var(--surface); box-shadow: var(--float); }
    .side[popover]:not(:popover-open) { display: none; } .side::backdrop { background: var(--canvas); opacity: 0.7; }
    .top .menu-btn { display: inline-flex; }
  }
  .nav a { min-height: 40px; }
  .top { padding: 8px 12px; gap: 8px; position: sticky; top: 0; z-index: 4; } .top .search { flex: 1; } .top .url, .top kbd { display: none; } .who .t { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
  .content { padding: 16px 16px 32px; }
  .head { margin-bottom: var(--s4); } .head .btns { width: 100%; } .head .btns .btn { flex: 1; }
  .cols.even, .settings { grid-template-columns: minmax(0, 1fr); gap: 16px; }
  .subnav { position: static; display: flex; overflow-x: auto; scrollbar-width: none; margin: 0 -16px; padding: 0 12px; border-bottom: 1px solid var(--line); } .subnav a { flex: none; border-radius: 0; padding: 8px; }
  .set { grid-template-columns: minmax(45%, 1fr) minmax(0, auto); } .set > dd:not(.from) { grid-area: 2 / 1 / 3 / 3; } .from { white-space: normal; }
  .tabs { margin-inline: -16px; padding-inline: 12px; }
  .todo > li { grid-template-columns: 20px minmax(0, 1fr); } .todo .btn { grid-column: 2; justify-self: start; margin-top: 6px; }
  .funnel { grid-template-columns: minmax(0, 1fr); } .funnel li { grid-template-columns: 40px minmax(0, 1fr) auto; align-items: baseline; padding: 7px 0; border: 0; border-top: 1px solid var(--line); } .funnel li:first-child { border: 0; } .funnel svg { display: none; } .funnel .n { font-size: var(--t-lg); line-height: 24px; text-align: start; }
  .diff { grid-template-columns: minmax(0, 1fr); } .diff > div + div { border-inline-start: 0; border-top: 1px solid var(--line); }
  .bar .btn { flex: none; }
  /* lists become stacked rows: the first cell is the heading, the others are labelled by data-l */
  .table.fold thead { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
  .table.fold, .table.fold tbody, .table.fold tr { display: block; }
  .table.fold tr { position: relative; display: flex; flex-wrap: wrap; gap: 3px 14px; padding: 12px 16px; border-bottom: 1px solid var(--line); } .table.fold tr:last-child { border: 0; }
  .table.fold td, .table.fold th { display: block; padding: 0 !important; border: 0; background: none !important; text-align: start !important; min-width: 0; } .table.fold tbody th { white-space: normal; } .table.fold .cell-name > :last-child { min-width: 0; overflow-wrap: anywhere; }
  .table.fold td[data-l]::before { content: attr(data-l) " "; color: var(--text-3); font-size: var(--t-xs); margin-inline-end: 4px; }
  .table.fold .full, .table.fold tr > :first-child { flex: 1 0 100%; } .table.fold td.num { text-align: start; } .table.fold .calls { display: inline; } .table.fold .calls .spark { display: none; } .table.fold .corner { position: absolute; right: 12px; top: 12px; width: auto; } .table.fold .hide-sm { display: none; }
  .table.fold tr.group { padding: 7px 16px; background: var(--sunk); }
  .table.act tr { display: grid; grid-template-columns: minmax(0, 1fr) auto; gap: 2px 12px; padding: 10px 16px; } .table.act .a-who { grid-area: 1 / 1; } .table.act .a-dec { grid-area: 1 / 2; } .table.act .a-tool { grid-area: 2 / 1; } .table.act tr > .a-time { grid-area: 2 / 2; text-align: end !important; } .table.act .sub { display: inline; margin-inline-start: 6px; } .table.act tr[aria-selected="true"] { background: var(--selected); }
  .with-drawer .drawer { order: -1; border-top: 0 !important; border-bottom: 1px solid var(--line) !important; }
  .matrix tbody th { min-width: 150px; } .matrix .sub { display: none; } .status { white-space: normal; } .card-head h2.row { flex-wrap: nowrap; align-items: flex-start; }
  .with-drawer .drawer { border: 0; border-top: 1px solid var(--line); }
}
@media (prefers-reduced-motion: reduce) { *, *::before, *::after { transition: none !important; } }
@media (forced-colors: active) {
  .card, .tag, .note, .tile, .copy, .actor { border: 1px solid CanvasText; }
  .btn.primary { border: 2px solid ButtonText; } .status::before { background: CanvasText; forced-color-adjust: none; } mark, del, ins { forced-color-adjust: none; }
  .hist .a, .funnel rect { fill: CanvasText; } .hist .d { fill: Highlight; } .hist .e { fill: LinkText; } .spark polyline { stroke: CanvasText; }
}

@media (max-width: 720px) { .page { border: 0; } code.url { overflow-wrap: anywhere; min-width: 0; } .head > .row { width: 100%; } .explain { grid-template-columns: minmax(0, 1fr); } .explain .btn { width: 100%; } .savebar .btns { width: 100%; } .savebar .btns > * { flex: 1; } .savebar .btn { width: 100%; } }
`

export const consoleStylesheet = `${tokens}${base}${frame}${contentStyle}${narrow}`
