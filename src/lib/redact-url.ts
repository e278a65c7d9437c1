/** Origin and path of a URL, for messages: queries hold signatures and tokens, user info holds passwords. */
export function redactUrl(url: URL): string {
  return url.host === '' ? `${url.protocol}…` : `${url.protocol}//${url.host}${url.pathname}`;
}
