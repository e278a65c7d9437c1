/**
 * What is wrong with a bundle, or with what one is to be made of; `message` is for people.
 * - `not-a-bundle`, `version`: it is something else, or of a later form.
 * - `cut-short`, `corrupt`, `order`: bytes are missing, are others, or come in another order than they must.
 * - `base-missing`: it builds on blobs that are not here.
 * - `signature`: it is not signed, or not by the key that is asked for.
 * - `changed`: what is being bundled has gone, or was never what its digest says.
 */
export type BundleErrorCode =
  'not-a-bundle' | 'version' | 'cut-short' | 'corrupt' | 'order' | 'base-missing' | 'signature' | 'changed';

export class BundleError extends Error {
  override readonly name = 'BundleError';
  readonly code: BundleErrorCode;

  constructor(code: BundleErrorCode, message: string, cause?: unknown) {
    super(message, { cause });
    this.code = code;
  }
}
