/** What an `Authorization` header says. */
export type Credentials =
  | { readonly kind: 'basic'; readonly name: string; readonly secret: string }
  | { readonly kind: 'bearer'; readonly secret: string };

/** Reads `Basic` (RFC 7617) and `Bearer` (RFC 6750) credentials; undefined if there are none, or none of a name. */
export function parseCredentials(header: string | undefined): Credentials | undefined {
  const [, scheme = '', value = ''] = /^(Basic|Bearer) +(\S+) *$/i.exec(header ?? '') ?? [];
  if (scheme.toLowerCase() === 'bearer') return { kind: 'bearer', secret: value };
  const text = Buffer.from(value, 'base64').toString('utf8');
  const colon = text.indexOf(':');
  return colon < 1 ? undefined : { kind: 'basic', name: text.slice(0, colon), secret: text.slice(colon + 1) };
}
