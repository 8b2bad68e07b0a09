// SPDX-License-Identifier: MIT
// Plays the page's video: by the browser's own HLS where it has it, else by hls.js. Says in words what goes wrong.
"use strict";

(() => {
  const video = document.getElementById("video");
  const trouble = document.getElementById("trouble");
  const playlist = new URL(video.dataset.playlist, document.baseURI).href;
  const codecs = JSON.parse(video.dataset.codecs);

  const NAMES = [
    [/^(hvc1|hev1)/i, "HEVC (H.265) video"],
    [/^(dvh1|dvhe)/i, "Dolby Vision video"],
    [/^avc[13]/i, "H.264 video of this profile"],
    [/^av01/i, "AV1 video"],
    [/^vp0?9/i, "VP9 video"],
    [/^ac-3/i, "AC-3 (Dolby Digital) sound"],
    [/^ec-3/i, "E-AC-3 (Dolby Digital Plus) sound"],
    [/^opus/i, "Opus sound"],
    [/^flac/i, "FLAC sound"],
    [/^mp4a\.(40\.34|6b|69)/i, "MP3 sound in MP4"],
    [/^mp4a/i, "AAC sound of this profile"],
  ];
  const nameOf = (codec) => (NAMES.find(([pattern]) => pattern.test(codec)) || [null, codec])[1];

  const say = (...sentences) => {
    trouble.replaceChildren(...sentences.filter(Boolean).map((sentence) => {
      const line = document.createElement("p");
      line.textContent = sentence;
      return line;
    }));
    trouble.hidden = sentences.length === 0;
  };

  const ELSEWHERE = "The playlist below plays in VLC, mpv and Jellyfin's own apps.";

  // What this browser says it cannot play, one codec at a time, over all renditions.
  const unplayable = () => {
    const source = window.ManagedMediaSource || window.MediaSource;
    if (!source) return [];
    const each = codecs.flatMap((list) => list.split(",")).map((codec) => codec.trim()).filter(Boolean);
    return [...new Set(each)].filter((codec) => !source.isTypeSupported(`video/mp4; codecs="${codec}"`));
  };

  // A restart takes seconds, and what is buffered plays on meanwhile.
  const AGAIN_MS = 2000;
  const SAY_MS = 30 * 1000;
  const GIVE_UP_MS = 10 * 60 * 1000;

  let hls = null;
  const giveUp = () => {
    if (hls) hls.destroy();
    hls = null;
  };

  const cannotPlay = () => {
    giveUp();
    const names = [...new Set(unplayable().map(nameOf))];
    say(
      names.length
        ? `This browser cannot play ${names.join(" and ")}.`
        : "This browser cannot play this video's format.",
      ELSEWHERE,
    );
  };

  const httpTrouble = (code) => {
    if (code === 404) return "The server does not know this video any more.";
    if (code === 403) return "This link is no longer valid: ask for a new one.";
    if (code >= 400) return `The server answered with an error (${code}); its log says more.`;
    return "The server cannot be reached from this browser: is the address in the playlist right for this network?";
  };

  const playNatively = () => {
    video.dataset.player = "native";
    const failed = () => {
      const code = video.error ? video.error.code : 0;
      if (isHlsJs && wish !== "native") {
        // It may play what the browser's own HLS cannot, and it tells a missing playlist from a codec.
        video.removeEventListener("error", failed);
        const isKnown = video.duration > 0;
        const wasAt = video.currentTime;
        const wasPlaying = !video.paused;
        video.removeAttribute("src");
        playWithHlsJs(isKnown, wasAt);
        if (wasPlaying) video.play().catch(() => {});
      } else if (code === MediaError.MEDIA_ERR_NETWORK) {
        say("The connection to the server broke off.");
      } else {
        cannotPlay();
      }
    };
    video.addEventListener("error", failed);
    video.src = playlist;
  };

  const playWithHlsJs = (wasKnown = false, startAt = -1) => {
    video.dataset.player = "hls.js";
    hls = new Hls({
      // The server holds a segment while the store is in trouble: up to 100 s, with the first byte at once.
      maxBufferSize: 60 * 1000 * 1000,
      startPosition: startAt,
    });
    let recoveries = 0;
    let isLoaded = false;
    let lostAt = 0;
    hls.on(Hls.Events.MANIFEST_PARSED, () => { isLoaded = true; });
    hls.on(Hls.Events.FRAG_LOADED, () => {
      if (lostAt) say();
      lostAt = 0;
    });
    hls.on(Hls.Events.ERROR, (_, data) => {
      if (!data.fatal) return;
      const isNetwork = data.type === Hls.ErrorTypes.NETWORK_ERROR;
      if (isNetwork && (isLoaded || wasKnown) && !(data.response && data.response.code >= 400)) {
        // Refused or cut off: a server that starts anew. hls.js itself gives up at once.
        lostAt = lostAt || Date.now();
        if (Date.now() - lostAt < GIVE_UP_MS) {
          if (Date.now() - lostAt > SAY_MS) say("The server does not answer; trying again.");
          setTimeout(() => {
            if (!hls) return;
            if (isLoaded) hls.startLoad();
            else hls.loadSource(playlist);
          }, AGAIN_MS);
          return;
        }
      }
      if (isNetwork) {
        giveUp();
        say(httpTrouble(data.response ? data.response.code : 0));
      } else if (/codec|incompatible/i.test(data.details)) {
        cannotPlay();
      } else if (data.type === Hls.ErrorTypes.MEDIA_ERROR && recoveries < 2) {
        recoveries += 1;
        hls.recoverMediaError();
      } else {
        cannotPlay();
      }
    });
    hls.loadSource(playlist);
    hls.attachMedia(video);
  };

  const copy = document.getElementById("copy");
  const field = document.getElementById("playlist-url");
  copy.addEventListener("click", () => {
    field.select();
    // The clipboard API is missing on plain http, which is what a home server usually has.
    const done = navigator.clipboard
      ? navigator.clipboard.writeText(field.value)
      : Promise.resolve(document.execCommand("copy"));
    done.then(() => { copy.textContent = "Copied"; }, () => {});
  });

  video.addEventListener("playing", () => say());

  const isNative = Boolean(video.canPlayType("application/vnd.apple.mpegurl"));
  const isHlsJs = Boolean(window.Hls && Hls.isSupported());
  const wish = new URLSearchParams(location.search).get("player");

  if (!field.value) {
    say("This video is not ready to play yet.");
  } else if (isHlsJs && (wish === "hls.js" || !isNative)) {
    playWithHlsJs();
  } else if (isNative) {
    playNatively();
  } else if (!window.Hls) {
    say("The player's script (hls.js) is not installed on this server.", ELSEWHERE);
  } else {
    say("This browser plays no HLS.", ELSEWHERE);
  }
})();
