// The design tokens: type, space, shapes and colours of every page, in two themes that the system chooses. Names say the
// job, never the colour. Each text is legible on each surface that it may stand on, and every mark and edge can be seen
// there: the contrasts are computed (test/unit/pages-tokens.test.ts), so change colours together. No page writes a colour
// of its own.

export const tokens = `
:root {
  color-scheme: light dark;

  /* type */
  --sans: system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Hiragino Sans", "Yu Gothic UI", "Noto Sans CJK JP", "Helvetica Neue", Arial, sans-serif;
  --mono: ui-monospace, "SF Mono", "Cascadia Mono", Menlo, Consolas, "Liberation Mono", "DejaVu Sans Mono", monospace;
  --t-xs: 0.75rem;    /* 12/16  table heads, chips, axis labels */
  --t-sm: 0.8125rem;  /* 13/20  tables, secondary text */
  --t-md: 0.875rem;   /* 14/20  console body, controls */
  --t-lg: 1rem;       /* 16/24  public body, section titles */
  --t-xl: 1.25rem;    /* 20/28  console page title */
  --t-2xl: 1.5rem;    /* 24/32  the one question of a public page */
  --w-regular: 400; --w-medium: 520; --w-strong: 600;

  /* space: a 4-px grid */
  --s1: 4px; --s2: 8px; --s3: 12px; --s4: 16px; --s5: 20px; --s6: 24px; --s8: 32px; --s12: 48px;

  /* shape */
  --r-chip: 5px; --r-control: 7px; --r-card: 10px; --r-tile: 9px; --r-full: 999px;
  --row: 44px;        /* a row of a list: the least that a finger hits */
  --control: 34px;    /* console controls; 44px below 640px and on public pages */

  /* motion */
  --quick: 120ms;

  /* surfaces */
  --canvas: #f7f8fa; --surface: #ffffff; --sunk: #f2f4f7; --hover: #f6f7f9; --selected: #eef2fe;
  --line: #e4e7ec; --line-2: #cfd4dd; --edge: #818998;
  /* text */
  --text: #151922; --text-2: #49505f; --text-3: #5f6777;
  /* the accent: links, focus, the one primary action. An operator's brand colour replaces --fill and --fill-hover only. */
  --accent: #2a4dc4; --accent-soft: #eef2fe; --accent-line: #c6d2fa;
  --fill: #2a4dc4; --fill-hover: #213e9f; --on-fill: #ffffff;
  --danger-fill: #bd2430; --danger-fill-hover: #9b1b26; --on-danger: #ffffff;
  /* states: word, wash, hairline, dot */
  --ok: #0a6e40; --ok-soft: #e9f6ef; --ok-line: #b9dfcb; --ok-dot: #17975a;
  --warn: #7d5200; --warn-soft: #fdf5df; --warn-line: #ead393; --warn-dot: #b97a00;
  --bad: #b8202c; --bad-soft: #fdf0f0; --bad-line: #f0c4c6; --bad-dot: #d43341;
  --auth: #7024b8; --auth-soft: #f5effc; --auth-line: #dcc9f2;
  /* charts: every mark at least 3:1 on the surface */
  --c-main: #6583e0; --c-warn: #bd8412; --c-bad: #d6515c; --c-mute: #b9c0cc;
  /* depth: only what floats has a shadow */
  --lift: 0 1px 2px rgb(18 24 38 / 0.05);
  --float: 0 12px 32px -8px rgb(18 24 38 / 0.18), 0 2px 6px rgb(18 24 38 / 0.06);
}

@media (prefers-color-scheme: dark) {
  :root {
    --canvas: #0e1013; --surface: #15181c; --sunk: #1c2026; --hover: #1a1d22; --selected: #1b2440;
    --line: #272c34; --line-2: #3b424e; --edge: #727b8b;
    --text: #e9ebef; --text-2: #b6bcc8; --text-3: #979fae;
    --accent: #9ab2ff; --accent-soft: #1a223b; --accent-line: #34467c;
    --fill: #3d62dd; --fill-hover: #3355c8; --on-fill: #ffffff;
    --danger-fill: #cf3541; --danger-fill-hover: #b92a36; --on-danger: #ffffff;
    --ok: #63cf97; --ok-soft: #12271c; --ok-line: #23503a; --ok-dot: #35b877;
    --warn: #eec05a; --warn-soft: #292110; --warn-line: #57451c; --warn-dot: #d9a233;
    --bad: #ff8b90; --bad-soft: #2f191b; --bad-line: #63302f; --bad-dot: #ef5b64;
    --auth: #cd9bf7; --auth-soft: #261a33; --auth-line: #4c3468;
    --c-main: #6f8ff0; --c-warn: #d09a35; --c-bad: #e0646d; --c-mute: #4c5462;
    --lift: 0 1px 2px rgb(0 0 0 / 0.3);
    --float: 0 16px 40px -8px rgb(0 0 0 / 0.7), 0 0 0 1px rgb(255 255 255 / 0.03);
  }
}
`
