import type { OciErrorCode } from '../oci/errors.ts';

/** A request that cannot be served whatever the cache and upstream hold. */
export class RequestError extends Error {
  override readonly name = 'RequestError';
  readonly code = 'request';
  readonly status: number;
  readonly ociCode: OciErrorCode;
  /** Besides those of every error. */
  readonly headers: Readonly<Record<string, string>>;

  constructor(
    status: number,
    ociCode: OciErrorCode,
    message: string,
    headers: Readonly<Record<string, string>> = {},
  ) {
    super(message);
    this.status = status;
    this.ociCode = ociCode;
    this.headers = headers;
  }
}
