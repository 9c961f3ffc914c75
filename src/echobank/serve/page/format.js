// Numbers and times as people read them: words in the language of the page, clocks and dates as the browser has them.

const LANGUAGE = document.documentElement.lang || "en";
const relative = new Intl.RelativeTimeFormat(LANGUAGE, { numeric: "auto", style: "short" });
const day = new Intl.DateTimeFormat([], { dateStyle: "medium", timeStyle: "medium" });
const hour = new Intl.DateTimeFormat([], { timeStyle: "medium" });
const UNITS = [["day", 86_400_000], ["hour", 3_600_000], ["minute", 60_000], ["second", 1000]];
let shift = 0; // clock of the service less the clock of the browser, ms

export const setClock = (now) => { shift = now - Date.now(); };
export const now = () => Date.now() + shift;

export const score = (value) => (value === null || value === undefined ? "–" : Number(value.toPrecision(3)).toLocaleString(LANGUAGE, { maximumSignificantDigits: 3 }));
export const pValue = (value) => (value === null || value === undefined ? "–" : value < 0.001 ? "< 0.001" : value.toPrecision(2));
export const percent = (value) => (value === null || value === undefined ? "–" : `${Number((100 * value).toPrecision(3))} %`);
export const decibel = (value) => (value === null || value === undefined ? "–" : `${value.toFixed(1)} dB`);
export const hertz = (value) => (value < 1000 ? `${Math.round(value)} Hz` : `${Number((value / 1000).toPrecision(2))} kHz`);
export const bytes = (value) => (value < 1 << 20 ? `${Math.ceil(value / 1024)} kB` : `${(value / (1 << 20)).toFixed(1)} MB`);

export function ago(ms) {
  if (ms === null || ms === undefined) return "–";
  const past = ms - now();
  for (const [unit, length] of UNITS) if (Math.abs(past) >= length || unit === "second") return relative.format(Math.round(past / length), unit);
  return "";
}

export function time(ms) {
  if (ms === null || ms === undefined) return "–";
  const moment = new Date(ms), today = new Date(now());
  return moment.toDateString() === today.toDateString() ? hour.format(moment) : day.format(moment);
}

export function duration(ms) {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60 ? `${seconds % 60} s` : ""}`.trim();
  const hours = Math.floor(seconds / 3600), minutes = Math.round((seconds % 3600) / 60);
  return hours < 48 ? `${hours} h ${minutes ? `${minutes} min` : ""}`.trim() : `${Math.round(hours / 24)} d`;
}
