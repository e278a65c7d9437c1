import { createPrivateKey, createPublicKey, sign, verify, type KeyObject } from 'node:crypto';

/** A text is not the required kind of key; `message` continues the sentence "the key is". */
export class KeyError extends Error {
  override readonly name = 'KeyError';
  readonly code = 'key-invalid';
}

const MAKE_ONE = '`openssl genpkey -algorithm ed25519` makes one';
const PUBLIC_ONE = '`openssl pkey -pubout` makes one from the private key';

/** An Ed25519 key that signs, PEM (PKCS #8). Throws KeyError. */
export function parsePrivateKey(pem: string): KeyObject {
  const wrong = `not an Ed25519 private key in PEM form without a password; ${MAKE_ONE}`;
  return ed25519(() => createPrivateKey(pem), wrong);
}

/** An Ed25519 key that verifies, PEM (SubjectPublicKeyInfo). Throws KeyError. */
export function parsePublicKey(pem: string): KeyObject {
  const wrong = `not an Ed25519 public key in PEM form; ${PUBLIC_ONE}`;
  // Node would derive the public key. But a private key here is a mistake that the user must notice.
  if (pem.includes('PRIVATE KEY')) throw new KeyError(wrong);
  return ed25519(() => createPublicKey(pem), wrong);
}

function ed25519(parse: () => KeyObject, wrong: string): KeyObject {
  let key: KeyObject;
  try {
    key = parse();
  } catch (cause) {
    // A message of OpenSSL may quote a part of the private key.
    throw new KeyError(wrong, { cause: cause instanceof Error ? cause.name : undefined });
  }
  if (key.asymmetricKeyType !== 'ed25519') throw new KeyError(wrong);
  return key;
}

/** The signature (RFC 8032, deterministic) as one line of base64. */
export function signatureOf(bytes: Buffer, key: KeyObject): Buffer {
  return Buffer.from(`${sign(null, bytes, key).toString('base64')}\n`);
}

export function isSignedBy(bytes: Buffer, signature: Buffer, key: KeyObject): boolean {
  return verify(null, bytes, key, Buffer.from(signature.toString('latin1'), 'base64'));
}
