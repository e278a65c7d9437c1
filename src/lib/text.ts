const UNITS = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'] as const;

/** Bytes for people, in powers of 1000: `999 B`, `1.2 GB`, `35 GB`. */
export function humanBytes(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 999.5 && unit < UNITS.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${unit === 0 || value >= 9.95 ? Math.round(value) : value.toFixed(1)} ${UNITS[unit]}`;
}

/** A duration for people: `0.4 s`, `59 s`, `3 min 20 s`, `2 h 5 min`. */
export function humanDuration(ms: number): string {
  if (ms < 9950) return `${(ms / 1000).toFixed(1)} s`;
  const seconds = Math.round(ms / 1000);
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${seconds % 60} s`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** An age in one unit: `just now`, `5 min ago`, `3 h ago`, `12 d ago`. */
export function humanAge(ms: number): string {
  const minutes = Math.floor(ms / 60_000);
  if (minutes < 1) return 'just now';
  if (minutes < 60) return `${minutes} min ago`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ago` : `${Math.floor(hours / 24)} d ago`;
}

/** `1 blob`, `2 blobs`; pass `plural` if it is not formed by `s`. */
export function counted(count: number, singular: string, plural = `${singular}s`): string {
  return `${count} ${count === 1 ? singular : plural}`;
}

/**
 * Characters that control terminals: C0 without tab and line feed, DEL and C1. Also marks that reverse text, so that
 * one text looks like another (Unicode Standard Annex 9, section 2; CVE-2021-42574).
 */
// oxlint-disable-next-line no-control-regex -- these are what it is about
const STEERING = /[\0-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]/g;

/** `text` with such characters as `\u…` escapes. JSON stays valid and equal. */
export function visible(text: string): string {
  return text.replaceAll(
    STEERING,
    (character) => String.raw`\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

/** Origin and path of a URL, for messages: queries hold signatures and tokens, user info holds passwords. */
export function redactUrl(url: URL): string {
  return url.host === '' ? `${url.protocol}…` : `${url.protocol}//${url.host}${url.pathname}`;
}

/**
 * Of a longer scheme only the end is shown. Without a limit, the match would be tried from each letter of a long
 * word.
 */
const URL_IN_TEXT = /[a-z][a-z0-9+.-]{0,30}:\/\/[^\s"'`<>]+/gi;
/** Credentials in an `Authorization` field (RFC 9110, section 11.4). */
const CREDENTIALS_IN_TEXT = /\b(Basic|Bearer)\s+[\w.~+/-]+=*/gi;

/**
 * Text that is safe to show, made of an untrusted one such as the message of a library's error. URLs keep scheme,
 * host and path; credentials keep their scheme; characters that control terminals are escaped.
 */
export function redactText(text: string): string {
  return visible(text)
    .replaceAll(URL_IN_TEXT, (url) =>
      URL.canParse(url) ? redactUrl(new URL(url)) : `${url.split(':')[0]}:…`,
    )
    .replaceAll(CREDENTIALS_IN_TEXT, '$1 …');
}
