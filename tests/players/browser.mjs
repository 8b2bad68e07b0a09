// SPDX-License-Identifier: MIT
// Plays a page's <video id="video"> in headless Chromium: from the start, from the middle, from the last ten
// seconds to the end. Prints one line of JSON. Node, with playwright-core; no browser is downloaded.
//
//   node browser.mjs PAGE_URL --timeout MS --profile DIR [--screenshot FILE] [--player native|hls.js] [--whole]
//
// With --whole it plays from the start to the end instead: then "frames" are all pictures that were decoded,
// shown or dropped because the machine was busy, and "buffered" is what stands in the buffer at the end.
import { parseArgs } from "node:util";
import { chromium } from "playwright-core";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    timeout: { type: "string", default: "60000" },
    profile: { type: "string" },
    screenshot: { type: "string" },
    player: { type: "string" },
    whole: { type: "boolean", default: false },
    chromium: { type: "string", default: "/usr/bin/chromium" },
  },
});
const page_url = new URL(positionals[0]);
if (values.player) page_url.searchParams.set("player", values.player);
const ends = Date.now() + Number(values.timeout);
const left = () => Math.max(1, ends - Date.now());

const report = {
  player: null, played: false, ended: false, duration_s: null, width: 0, height: 0, frames: 0,
  dropped: 0, buffered: [], seeks: [], trouble: "", errors: [], requests: [],
};
const complain = (text) => { if (report.errors.length < 20) report.errors.push(text); };

const context = await chromium.launchPersistentContext(values.profile, {
  executablePath: values.chromium,
  headless: true,
  timeout: left(),
  viewport: { width: 1280, height: 860 },
  args: [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--autoplay-policy=no-user-gesture-required", "--mute-audio",
  ],
});

// Waits until the named condition holds, or until the page speaks of trouble.
const wait = async (page, what, name, value = null) => {
  let seen;
  try {
    const handle = await page.waitForFunction(
      ([name, value]) => {
        const video = document.getElementById("video");
        const box = document.getElementById("trouble");
        if (box && !box.hidden) return { trouble: box.innerText };
        const holds = {
          picture: () => video && video.readyState >= 2,
          playing: () => !video.paused && video.currentTime > 0.5,
          arrived: () => !video.seeking && video.readyState >= 2,
          // Near the very end it may end before.
          beyond: () => video.ended || video.currentTime > value + 0.2,
          ended: () => video.ended,
        };
        return holds[name]() ? { ok: true } : null;
      },
      [name, value],
      { timeout: left(), polling: 50 },
    );
    seen = await handle.jsonValue();
  } catch (error) {
    throw new Error(`${what}: ${error.message.split("\n")[0]}`);
  }
  if (seen.trouble) throw new Error(`${what}: the page speaks of trouble`);
};

const now = (page) => page.evaluate(() => document.getElementById("video").currentTime);

const seek = async (page, target_s) => {
  await page.evaluate((at) => { document.getElementById("video").currentTime = at; }, target_s);
  const entry = { target_s, arrived_s: null, ok: false };
  report.seeks.push(entry);
  await wait(page, `seeking to ${target_s} s`, "arrived");
  entry.arrived_s = await now(page);
  // Playing on is what proves that the picture is there.
  await wait(page, `playing on from ${target_s} s`, "beyond", entry.arrived_s);
  entry.ok = Math.abs(entry.arrived_s - target_s) < 1;
};

const session = async (page) => {
  const answer = await page.goto(page_url.href, { timeout: left(), waitUntil: "load" });
  if (!answer.ok()) throw new Error(`the page answered ${answer.status()}`);
  await wait(page, "the first picture", "picture");
  await page.evaluate(() => { const video = document.getElementById("video"); video.muted = true; return video.play(); });
  await wait(page, "playing", "playing");
  report.played = true;
  const duration_s = await page.evaluate(() => document.getElementById("video").duration);
  report.duration_s = duration_s;
  if (!values.whole) {
    await seek(page, duration_s / 2);
    if (values.screenshot) await page.screenshot({ path: values.screenshot });
    await seek(page, Math.max(duration_s - 10, (duration_s * 3) / 4));
  }
  await page.evaluate(() => { document.getElementById("video").playbackRate = 4; });
  await wait(page, "the end", "ended");
  report.ended = true;
};

try {
  const page = context.pages()[0] || (await context.newPage());
  page.on("pageerror", (error) => complain(`script: ${error.message}`));
  page.on("console", (message) => { if (message.type() === "error") complain(`console: ${message.text()}`); });
  page.on("response", (answer) => {
    const path = new URL(answer.url()).pathname;
    if (answer.url().startsWith("http") && report.requests.length < 200) report.requests.push(`${answer.status()} ${path}`);
    if (answer.status() >= 400) complain(`${answer.status()} for ${path}`);
  });
  try {
    await session(page);
  } catch (error) {
    complain(error.message);
    if (values.screenshot) await page.screenshot({ path: values.screenshot }).catch(() => {});
  }
  Object.assign(report, await page.evaluate(() => {
    const video = document.getElementById("video");
    const box = document.getElementById("trouble");
    const quality = video ? video.getVideoPlaybackQuality() : null;
    return {
      player: video ? video.dataset.player || null : null,
      width: video ? video.videoWidth : 0,
      height: video ? video.videoHeight : 0,
      frames: quality ? quality.totalVideoFrames : 0,
      dropped: quality ? quality.droppedVideoFrames : 0,
      buffered: video ? Array.from(video.buffered, (_, at) => [video.buffered.start(at), video.buffered.end(at)]) : [],
      trouble: box && !box.hidden ? box.innerText.trim() : "",
    };
  }).catch((error) => { complain(error.message); return {}; }));
} finally {
  await context.close().catch(() => {});
}
console.log(JSON.stringify(report));
