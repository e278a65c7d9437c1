/** What both ends of the control socket must agree on; raised when an older command could take an answer wrongly. */
export const CONTROL_PROTOCOL = 1;
/** Each request names the protocol that it speaks. */
export const PROTOCOL_HEADER = 'Pierhead-Protocol';
/** The request itself, as JSON in the query, where the body is for bytes. */
export const REQUEST_PARAMETER = 'request';

/** The answer to an operation, one of these a line (newline-delimited JSON); the last one has a result or an error. */
export type ControlLine =
  /** The bytes that come with the request are wanted now: whoever asks sends them only then. */
  | { readonly begun: true }
  | { readonly event: unknown }
  | { readonly result: unknown }
  | { readonly error: { readonly code: string; readonly message: string } };
