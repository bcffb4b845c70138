/* All words of the page, in each language that it speaks. It speaks the first of the browser's
 * languages that stands here, or else the first one here. A name that is the same in both is a
 * place in the page (data-word, data-label, data-placeholder) or is asked for by page.js. */
"use strict";

const LANGUAGES = {
  en: {
    title: "Image search",
    skip: "Skip to the images",
    all: "All images",
    text: "What to look for",
    textHint: "Describe an image",
    search: "Search",
    byImage: "By image…",
    options: "Options",
    minus: "Without",
    minusHint: "what to leave out",
    folder: "Folder",
    folderAll: "all",
    order: "Order",
    bestFirst: "best first",
    asIndexed: "as indexed",
    newest: "newest first",
    oldest: "oldest first",
    least: "Least similarity",
    leastHint: "any",
    terms: "Looking for",
    images: "Images",
    more: "Show more",
    lost: "file is gone",
    drop: "Let go to look for images like this one",

    count: (n) => (n === 1 ? "1 image" : number(n) + " images"),
    bestOf: (n) => "The best of " + words.count(n),
    someOf: (some, n) => number(some) + " of " + words.count(n),
    bestSomeOf: (some, n) => "The best " + number(some) + " of " + words.count(n) + ", by date",
    copies: (n) => number(n) + " copies",
    similarityOf: (score) => "similarity " + score,
    remove: (term) => "Remove: " + term,
    likeSent: "like your image",
    likeThis: "like this",
    unlikeThis: "unlike this",

    nothing: "No images here",
    nothingInFolder: "The index has none in this folder.",
    nothingInIndex: "The index is empty; add some with clip_search index.",
    nothingSimilar: (best) => "None is as similar as that; the most similar one has " + best + ".",

    previous: "Previous image",
    next: "Next image",
    close: "Close",
    size: "Size",
    dimensions: "Dimensions",
    date: "Date",
    similarity: "Similarity",
    place: (place, total) => "no. " + number(place) + " of " + number(total),
    sameFile: (n) => "The same file " + number(n) + " times",
    copyPath: "Copy path",
    copied: "Copied",
    like: "More like this",
    unlike: "Less like this",
    open: "Open the file",
    download: "Download",
    classify: "Which label fits?",
    classifyHow: "Separate them by commas.",
    classifyHint: "cat, dog, car",
    ask: "Ask",
    keyOthers: "other images",
    keyClose: "close",

    unreachable: "The server does not answer. Is clip_search serve still running?",
    failed: (sentence) => sentence,
    unknownImage: "The index has no such image (any more).",
    stale: "The index was put together anew since; load the page again.",
    unreadable: "This file is no image that can be read.",
    cancelled: "What is looked for and what to leave out cancel each other.",
    tooLarge: "This file is too large to be sent.",
  },

  zh: {
    title: "图片搜索",
    skip: "跳到图片",
    all: "全部图片",
    text: "要找什么",
    textHint: "描述一张图片",
    search: "搜索",
    byImage: "以图搜图…",
    options: "选项",
    minus: "排除",
    minusHint: "不要的内容",
    folder: "文件夹",
    folderAll: "全部",
    order: "排序",
    bestFirst: "最相似在前",
    asIndexed: "索引顺序",
    newest: "最新在前",
    oldest: "最早在前",
    least: "最低相似度",
    leastHint: "不限",
    terms: "正在查找",
    images: "图片",
    more: "显示更多",
    lost: "文件已不存在",
    drop: "松开即可查找相似图片",

    count: (n) => number(n) + " 张图片",
    bestOf: (n) => words.count(n) + "，最相似的在前",
    someOf: (some, n) => words.count(n) + "中的 " + number(some) + " 张",
    bestSomeOf: (some, n) => words.count(n) + "中最相似的 " + number(some) + " 张，按日期排列",
    copies: (n) => number(n) + " 份",
    similarityOf: (score) => "相似度 " + score,
    remove: (term) => "移除：" + term,
    likeSent: "与你的图片相似",
    likeThis: "与此相似",
    unlikeThis: "与此不同",

    nothing: "这里没有图片",
    nothingInFolder: "索引中此文件夹没有图片。",
    nothingInIndex: "索引是空的；请在终端中添加图片。",
    nothingSimilar: (best) => "没有图片达到这个相似度；最高的是 " + best + "。",

    previous: "上一张",
    next: "下一张",
    close: "关闭",
    size: "大小",
    dimensions: "尺寸",
    date: "日期",
    similarity: "相似度",
    place: (place, total) => "第 " + number(place) + " 张，共 " + number(total) + " 张",
    sameFile: (n) => "同一文件共 " + number(n) + " 份",
    copyPath: "复制路径",
    copied: "已复制",
    like: "更多类似图片",
    unlike: "减少类似图片",
    open: "打开文件",
    download: "下载",
    classify: "哪个标签最合适？",
    classifyHow: "用逗号分隔。",
    classifyHint: "猫，狗，汽车",
    ask: "判断",
    keyOthers: "其他图片",
    keyClose: "关闭",

    unreachable: "服务器没有回应。它还在运行吗？",
    failed: (sentence) => "服务器拒绝了请求：" + sentence,
    unknownImage: "索引中没有（或不再有）这张图片。",
    stale: "索引已经重建，请重新加载页面。",
    unreadable: "这个文件不是可以读取的图片。",
    cancelled: "要找的和要排除的互相抵消了。",
    tooLarge: "这个文件太大，无法发送。",
  },
};

/* "zh-CN" is zh, and numbers and dates are written as the reader's own variant has them. */
const locale = navigator.languages.find((l) => l.split("-")[0] in LANGUAGES) || "en";
const language = locale.split("-")[0];
const words = LANGUAGES[language];

const number = (n) => n.toLocaleString(locale);
const similarity = (score, digits) => score.toLocaleString(locale,
  { minimumFractionDigits: digits, maximumFractionDigits: digits });
const percent = (share) => share.toLocaleString(locale,
  { style: "percent", minimumFractionDigits: 1, maximumFractionDigits: 1 });
const moment = (seconds) => new Date(1000 * seconds).toLocaleString(locale,
  { dateStyle: "long", timeStyle: "short" });
const day = (seconds) => new Date(1000 * seconds).toLocaleDateString(locale);
const fileSize = (bytes) => {
  const digits = (n) => n.toLocaleString(locale, { maximumFractionDigits: n < 10 ? 1 : 0 });
  if (bytes < 1000) return digits(bytes) + " B";
  return bytes < 999500 ? digits(bytes / 1e3) + " kB" : digits(bytes / 1e6) + " MB";
};

document.documentElement.lang = locale;
document.title = words.title;
for (const e of document.querySelectorAll("[data-word]")) e.textContent = words[e.dataset.word];
for (const e of document.querySelectorAll("[data-label]"))
  e.setAttribute("aria-label", words[e.dataset.label]);
for (const e of document.querySelectorAll("[data-placeholder]"))
  e.placeholder = words[e.dataset.placeholder];
