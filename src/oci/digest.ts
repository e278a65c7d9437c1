import { createHash, type Hash } from 'node:crypto';

/** A digest whose algorithm and length were checked, e.g. `sha256:` followed by 64 lower-case hex digits. */
export type Digest = string & { readonly __brand: 'Digest' };

export type DigestAlgorithm = 'sha256' | 'sha512';

const PATTERN = /^(?:sha256:[a-f0-9]{64}|sha512:[a-f0-9]{128})$/;

/**
 * The digest that `text` spells, or undefined if it is not a digest that Pierhead can verify. Grammar and registered
 * algorithms: OCI image-spec, descriptor.md "Digests".
 */
export function parseDigest(text: string): Digest | undefined {
  return PATTERN.test(text) ? (text as Digest) : undefined;
}

export function digestAlgorithm(digest: Digest): DigestAlgorithm {
  return digest.startsWith('sha512:') ? 'sha512' : 'sha256';
}

/** The hex digits after the algorithm. */
export function digestHex(digest: Digest): string {
  return digest.slice(7);
}

/** The digest of `bytes`; SHA-256 unless another algorithm is named. */
export function digestOf(bytes: Uint8Array, algorithm: DigestAlgorithm = 'sha256'): Digest {
  return `${algorithm}:${createHash(algorithm).update(bytes).digest('hex')}` as Digest;
}

/** True if `bytes` have this digest. */
export function digestMatches(digest: Digest, bytes: Uint8Array): boolean {
  return digestOf(bytes, digestAlgorithm(digest)) === digest;
}

/** A hash of the algorithm of `digest`, to be fed with the bytes. */
export function digestHasher(digest: Digest): Hash {
  return createHash(digestAlgorithm(digest));
}

/** Ends `hasher`; true if the bytes that it hashed have this digest. */
export function hasherMatches(hasher: Hash, digest: Digest): boolean {
  return hasher.digest('hex') === digestHex(digest);
}
