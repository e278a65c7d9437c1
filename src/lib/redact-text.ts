import { redactUrl } from './redact-url.ts';
import { visible } from './visible-text.ts';

/** Of a longer scheme only the end is shown; without a limit, a long word would be gone through from each letter. */
const URL_IN_TEXT = /[a-z][a-z0-9+.-]{0,30}:\/\/[^\s"'`<>]+/gi;
/** What follows in an `Authorization` field (RFC 9110, section 11.4). */
const CREDENTIALS_IN_TEXT = /\b(Basic|Bearer)\s+[\w.~+/-]+=*/gi;

/**
 * Text for people, such as the message of an error that comes from a library: of URLs only scheme, host and path are
 * let through, of credentials only their scheme, and nothing that steers a terminal.
 */
export function redactText(text: string): string {
  return visible(text)
    .replaceAll(URL_IN_TEXT, (url) =>
      URL.canParse(url) ? redactUrl(new URL(url)) : `${url.split(':')[0]}:…`,
    )
    .replaceAll(CREDENTIALS_IN_TEXT, '$1 …');
}
