//! The style sheet. System fonts, one accent, two themes; every pair of colours that text is shown
//! in has a contrast of at least 4.5, which a test computes in a browser.

/// Between `<style>` and `</style>`.
pub(super) const CSS: &str = r#":root{
--page:#f6f7f8;--card:#fff;--ink:#1c2126;--muted:#57606a;--line:#dfe3e7;--soft:#eef1f3;
--accent:#0b6b7c;--area:#cfe6ea;--good:#1a7336;--bad:#b42318;--warn:#8a5a00;
--good-soft:#e9f5ec;--bad-soft:#fcebea;--warn-soft:#fbf2dd}
@media (prefers-color-scheme:dark){:root{
--page:#121518;--card:#1a1e22;--ink:#e7eaed;--muted:#9aa5b0;--line:#2e353c;--soft:#232930;
--accent:#62c1d3;--area:#1f4049;--good:#6cc98a;--bad:#ff8f85;--warn:#e3b35a;
--good-soft:#16281d;--bad-soft:#331d1c;--warn-soft:#2e2614}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%;text-size-adjust:100%}
body{margin:0;background:var(--page);color:var(--ink);font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",sans-serif;font-variant-numeric:tabular-nums}
main,footer{max-width:72rem;margin:0 auto;padding:0 1rem}
main{padding-top:1.25rem}
footer{padding-block:1.5rem 2rem;color:var(--muted);font-size:.8125rem}
h1,h2,h3,p,ul,dl,dd,figure{margin:0}
h1{font-size:clamp(1.375rem,1.1rem + 1.4vw,2rem);line-height:1.2;font-weight:650;letter-spacing:-.01em;text-wrap:balance}
h2{font-size:1.25rem;line-height:1.3;font-weight:600}
h3{font-size:1rem;line-height:1.35;font-weight:600}
a{color:var(--accent)}
code{font:.875em/1.45 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;overflow-wrap:anywhere}
.muted,.kicker,.note{color:var(--muted)}
.kicker{font-size:.9375rem;overflow-wrap:anywhere;margin-bottom:.25rem}
.note{font-size:.875rem}
nav{margin-bottom:1rem;font-size:.9375rem}
nav ul{list-style:none;padding:0;display:flex;flex-wrap:wrap;gap:.375rem 1.25rem}
nav li,h1,h2,h3{overflow-wrap:anywhere;min-width:0}
.cluster+.cluster{margin-top:2.5rem;padding-top:2rem;border-top:1px solid var(--line)}
.verdict{padding:1.125rem 1.25rem;border-radius:.75rem;background:var(--card);border:1px solid var(--line);border-left:.375rem solid var(--muted)}
.verdict.good{border-left-color:var(--good)}
.verdict.bad{border-left-color:var(--bad)}
.verdict.warn{border-left-color:var(--warn)}
.verdict.good h1 .word{color:var(--good)}
.verdict.bad h1 .word{color:var(--bad)}
.verdict.warn h1 .word{color:var(--warn)}
.verdict p+p,.verdict h1+p{margin-top:.375rem;overflow-wrap:anywhere}
.over{margin:2rem 0 0}
.unseen{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%);white-space:nowrap}
h1+nav{margin-top:.75rem}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(10.5rem,1fr));gap:.75rem;margin:.75rem 0}
.tiles div,.card,.chart{background:var(--card);border:1px solid var(--line);border-radius:.75rem;padding:1rem 1.25rem;min-width:0}
.tiles dt{font-size:.875rem;color:var(--muted)}
.tiles dd{font-size:.8125rem;color:var(--muted);overflow-wrap:anywhere}
.tiles dd.value{font-size:1.5rem;line-height:1.25;font-weight:600;color:var(--ink);letter-spacing:-.01em}
.grid{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,28rem),1fr));gap:.75rem}
.card{margin-top:.75rem}
.card h2+*,.card h3+*{margin-top:.5rem}
.grid>.card{margin-top:0}
.card ul{padding-left:1.125rem}
.card li+li{margin-top:.375rem}
.wide{grid-column:1/-1}
figcaption{display:flex;flex-wrap:wrap;justify-content:space-between;gap:.125rem 1rem;align-items:baseline}
.legend{font-size:.8125rem;color:var(--muted);display:flex;flex-wrap:wrap;gap:.125rem .875rem}
.key{display:inline-flex;align-items:center;gap:.375rem}
.key svg{width:.875rem;height:.875rem;flex:none}
.plot{position:relative;height:11rem;margin:.75rem 0 1.5rem 3.75rem}
.bars .plot{margin-left:0}
.plot svg{position:absolute;inset:0;width:100%;height:100%;overflow:visible}
.plot span{position:absolute;font-size:.75rem;line-height:1rem;color:var(--muted);white-space:nowrap}
.plot .y{right:100%;margin-right:.5rem;transform:translateY(50%)}
.plot .x{top:100%;margin-top:.375rem;transform:translateX(-50%)}
.plot .x.first{transform:none}
.plot .x.last{transform:translateX(-100%)}
.plot .v{transform:translate(-50%,-100%);color:var(--ink);padding-bottom:.125rem}
.plot .v.down{transform:translate(-50%,0);padding:.125rem 0 0}
.plot .v.cross{transform:translate(-50%,-50%);padding:0;font-size:1rem;font-weight:700;pointer-events:none}
span.cross{color:var(--bad)!important;font-weight:700}
.gridline{stroke:var(--line);stroke-width:1;vector-effect:non-scaling-stroke}
.zero{stroke:var(--muted)}
.area{fill:var(--area)}
.line{fill:none;stroke:var(--accent);stroke-width:2;vector-effect:non-scaling-stroke;stroke-linejoin:round}
.line.raw{stroke:var(--muted);stroke-width:1.5;stroke-dasharray:5 4}
.dot{stroke:var(--accent);stroke-width:7;stroke-linecap:round;vector-effect:non-scaling-stroke}
.dot.raw{stroke:var(--muted);stroke-width:5}
.target{stroke:var(--warn);stroke-width:1.5;stroke-dasharray:2 3;vector-effect:non-scaling-stroke}
.bar{fill:var(--accent)}
.bar.down{fill:var(--warn)}
.hit{fill:transparent}
.hit:hover{fill:var(--ink);fill-opacity:.08}
.months{display:flex;flex-wrap:wrap;gap:.875rem 1.125rem;margin-top:.75rem}
.months p{font-size:.75rem;color:var(--muted);margin-bottom:.25rem}
.months svg{display:block;width:7rem;height:auto}
.day{fill:var(--soft)}
.day.outside{fill:none;stroke:var(--line)}
.day.backup{fill:var(--accent)}
.day.gap{fill:none;stroke:var(--bad);stroke-width:1.25;stroke-dasharray:2 1.5}
.day.closed{fill:var(--bad-soft);stroke:var(--bad);stroke-width:1.25}
.cross{stroke:var(--bad);stroke-width:1.75;stroke-linecap:round;fill:none}
.on .cross{stroke:var(--card);stroke-width:2}
.ring{fill:var(--card);stroke:none}
.ring.alone{fill:var(--accent)}
details{margin-top:.5rem}
summary{cursor:pointer;font-size:.875rem;color:var(--accent);padding:.25rem 0;width:fit-content}
:focus-visible{outline:2px solid var(--accent);outline-offset:2px;border-radius:.25rem}
.scroll{overflow-x:auto;max-height:26rem;overflow-y:auto}
.tenants{max-height:none}
table{border-collapse:collapse;width:100%;font-size:.875rem}
th,td{padding:.375rem .75rem .375rem 0;text-align:right;vertical-align:top;border-bottom:1px solid var(--line);white-space:nowrap;font-weight:400}
th:first-child,td:first-child,.words td,.words th{text-align:left}
th:last-child,td:last-child{padding-right:0}
thead th{font-size:.8125rem;color:var(--muted);position:sticky;top:0;background:var(--card)}
.words td{white-space:normal;overflow-wrap:anywhere;min-width:12rem}
.tenants th[scope=row]{white-space:normal;overflow-wrap:anywhere;min-width:8.5rem;width:45%}
.tenants th .muted{font-size:.8125rem}
.tenants .share{display:block;width:100%;height:.375rem;margin-top:.25rem}
.tenants .share rect{fill:var(--accent)}
.tenants .share .rest{fill:var(--soft)}
.tenants .trend{width:6rem;height:1.5rem;overflow:visible;margin-right:.25rem}
.pill{display:inline-block;padding:0 .5rem;border-radius:1rem;font-size:.8125rem;font-weight:600;white-space:nowrap}
.pill.passed{background:var(--good-soft);color:var(--good)}
.pill.warned{background:var(--warn-soft);color:var(--warn)}
.pill.failed{background:var(--bad-soft);color:var(--bad)}
.pill.open{background:var(--soft);color:var(--muted)}
.findings{list-style:none;padding:0!important}
.findings li{padding:.625rem 0;border-top:1px solid var(--line);overflow-wrap:anywhere}
.findings li:first-child{border-top:0;padding-top:0}
.findings p{margin-top:.25rem}
.facts{display:grid;grid-template-columns:minmax(7rem,auto) 1fr;gap:.25rem 1.25rem;font-size:.9375rem}
.facts dt{color:var(--muted)}
.facts dd{overflow-wrap:anywhere;min-width:0}
@media (max-width:30rem){
main,footer{padding-inline:.75rem}
.tiles{grid-template-columns:1fr 1fr}
.tiles div,.card,.chart,.verdict{padding:.875rem}
.tiles dd.value{font-size:1.25rem}
.plot{margin-left:3.375rem}
.tenants .less{display:none}
.bars .x:nth-of-type(even){display:none}
.facts{grid-template-columns:1fr}
.facts dd{margin-bottom:.375rem}
.months{gap:.75rem 1rem}
.months svg{width:5.75rem}
.findings p{font-size:.9375rem}}
@media print{
:root{--page:#fff;--card:#fff;--ink:#000;--muted:#444;--line:#bbb;--soft:#eee;--accent:#0b6b7c;--area:#d5e8eb;--good:#1a7336;--bad:#b42318;--warn:#8a5a00}
body{font-size:11px}
*{print-color-adjust:exact;-webkit-print-color-adjust:exact}
main,footer{max-width:none;padding:0}
.tiles div,.card,.chart,.verdict{break-inside:avoid;padding:.5rem .75rem}
.grid{grid-template-columns:1fr 1fr;gap:.5rem}
.plot{height:7rem}
.scroll{max-height:none;overflow:visible}
details:not([open]){display:none}}
"#;
