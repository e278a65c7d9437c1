/**
 * C0 but for tab and line feed, DEL and C1, which steer terminals; and the marks that turn text around, by which one thing
 * can be made to look like another (Unicode Standard Annex 9, section 2; CVE-2021-42574).
 */
// oxlint-disable-next-line no-control-regex -- these are what it is about
const STEERING = /[\0-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]/g;

/** `text` with such characters spelt out, in a way that leaves JSON what it was. */
export function visible(text: string): string {
  return text.replaceAll(
    STEERING,
    (character) => String.raw`\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}
