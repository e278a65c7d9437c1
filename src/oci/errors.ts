import { visible } from '../lib/visible-text.ts';

/** Error codes of the OCI distribution-spec ("Error Codes"); UNAVAILABLE is distribution's, for its 503. */
export type OciErrorCode =
  | 'BLOB_UNKNOWN'
  | 'DENIED'
  | 'DIGEST_INVALID'
  | 'MANIFEST_INVALID'
  | 'MANIFEST_UNKNOWN'
  | 'NAME_INVALID'
  | 'NAME_UNKNOWN'
  | 'SIZE_INVALID'
  | 'TOOMANYREQUESTS'
  | 'UNAUTHORIZED'
  | 'UNAVAILABLE'
  | 'UNKNOWN'
  | 'UNSUPPORTED';

export interface OciError {
  readonly code: OciErrorCode;
  /** For people: Docker, Podman and crane print it. */
  readonly message: string;
  readonly detail?: unknown;
}

/** The JSON body of an error answer. Its message holds what registries say, and ends on the terminals of clients. */
export function errorBody(error: OciError): Buffer {
  const shown = { ...error, message: visible(error.message) };
  return Buffer.from(`${JSON.stringify({ errors: [shown] })}\n`);
}
