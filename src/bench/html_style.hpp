// SPDX-License-Identifier: Apache-2.0
// The head of the report's page.
#pragma once

#include <string_view>

namespace migrate::bench {

// On a narrow page (a phone of 390 px) each row of a table is a block with a line for each cell.
inline constexpr std::string_view kHtmlHead = R"(<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>migrate bench</title>
<style>
:root { color-scheme: light dark; --back: #ffffff; --fore: #1d2329; --soft: #5c6670; --line: #d5dadf;
  --panel: #f6f7f9; --good: #1f7a45; --bad: #b3362f; --warn: #fff3cd; --warn-line: #d9a406; }
@media (prefers-color-scheme: dark) {
  :root { --back: #15191d; --fore: #e4e8ec; --soft: #9aa5af; --line: #353d45; --panel: #1d2328;
    --good: #63c58a; --bad: #f0857d; --warn: #3a3113; --warn-line: #b98d0b; }
}
* { box-sizing: border-box; }
body { background: var(--back); color: var(--fore); font: 16px/1.5 system-ui, sans-serif; margin: 0 auto;
  max-width: 1000px; overflow-wrap: break-word; padding: 24px; }
h1 { font-size: 28px; margin: 0 0 4px; }
h2 { border-top: 1px solid var(--line); font-size: 22px; margin: 48px 0 4px; padding-top: 24px; }
h3 { font-size: 16px; margin: 24px 0 6px; }
a { color: inherit; }
p.where, .missing, ul.notes { color: var(--soft); }
p.where { margin-top: 0; }
p.warning { background: var(--warn); border-left: 4px solid var(--warn-line); padding: 10px 14px; }
ol.story { list-style: none; margin: 24px 0; padding: 0; }
ol.story li { border-top: 1px solid var(--line); display: grid; gap: 0 18px; grid-template-columns: 110px 1fr;
  padding: 12px 0; }
.ratio { font-size: 24px; font-variant-numeric: tabular-nums; font-weight: 700; line-height: 1.25; text-align: right; }
.better { color: var(--good); } .worse { color: var(--bad); } .neutral { color: var(--soft); }
ol.story b { display: block; }
p.found { font-size: 18px; }
figure { background: var(--panel); border-radius: 8px; margin: 16px 0; padding: 12px; }
figcaption { font-weight: 600; margin-bottom: 4px; }
figure svg { color: var(--fore); display: block; height: auto; width: 100%; }
figure svg text { fill: currentColor; }
.narrow { display: none; }
ul.legend { display: flex; flex-wrap: wrap; font-size: 14px; gap: 2px 18px; list-style: none; margin: 0 0 4px; padding: 0; }
ul.legend i { display: inline-block; height: 12px; margin-right: 6px; position: relative; width: 22px; }
i.full { background: currentColor; } i.light { border: 1px solid; }
i.light::before { background: currentColor; content: ""; inset: 0; opacity: 0.3; position: absolute; }
ul.legend i.line, ul.legend i.dashes { border-top: 3px solid; height: 0; margin-bottom: 4px; }
ul.legend i.dashes { border-top-style: dashed; }
time { white-space: nowrap; }
details { margin: 16px 0; } summary { cursor: pointer; font-weight: 600; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: 14px; font-variant-numeric: tabular-nums; margin-bottom: 14px; }
th, td { border-bottom: 1px solid var(--line); padding: 4px 10px; text-align: right; vertical-align: top; }
th { color: var(--soft); font-weight: 600; } th:first-child, td:first-child { min-width: 150px; text-align: left; }
td { white-space: nowrap; } td:first-child, td.words { white-space: normal; }
td.words { min-width: 200px; text-align: left; }
table.published { background: var(--panel); }
td.met { color: var(--good); } td.missed { color: var(--bad); }
@media (max-width: 640px) {
  body { padding: 14px; }
  h1 { font-size: 24px; } h2 { font-size: 20px; margin-top: 36px; }
  ol.story li { display: block; } .ratio { text-align: left; }
  .wide { display: none; } .narrow { display: block; }
  figure { padding: 10px 8px; }
  table, tbody, tr, td { display: block; } tr.head { display: none; }
  tr { border-bottom: 1px solid var(--line); padding: 8px 0; }
  td, td.words, td:first-child { white-space: normal; border: 0; min-width: 0; padding: 1px 0; text-align: right; }
  td:first-child { font-weight: 600; text-align: left; }
  td[data-name] { display: flex; gap: 16px; justify-content: space-between; }
  td[data-name]::before { color: var(--soft); content: attr(data-name); flex: 0 0 45%; text-align: left; }
  td:empty { display: none; }
}
</style>
</head>
<body>
)";

}  // namespace migrate::bench
