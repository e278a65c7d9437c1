import { redactUrl } from './redact-url.ts';

const URL_IN_TEXT = /[a-z][a-z0-9+.-]*:\/\/[^\s"'`<>]+/gi;
/** What follows in an `Authorization` field (RFC 9110, section 11.4). */
const CREDENTIALS_IN_TEXT = /\b(Basic|Bearer)\s+[\w.~+/-]+=*/gi;

/**
 * Text for people, such as the message of an error that comes from a library: of URLs only scheme, host and path are
 * let through, of credentials only their scheme.
 */
export function redactText(text: string): string {
  return text
    .replaceAll(URL_IN_TEXT, (url) =>
      URL.canParse(url) ? redactUrl(new URL(url)) : `${url.split(':')[0]}:…`,
    )
    .replaceAll(CREDENTIALS_IN_TEXT, '$1 …');
}
