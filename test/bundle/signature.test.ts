import { generateKeyPairSync } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  isSignedBy,
  KeyError,
  parsePrivateKey,
  parsePublicKey,
  signatureOf,
} from '../../src/bundle/signature.ts';
import { run } from '../support/commands.ts';
import { testFolder } from '../support/temp.ts';

const bytes = Buffer.from('what is signed');

async function openssl(cwd: string, ...args: string[]): Promise<void> {
  await run({ program: 'openssl', args, cwd });
}

describe('signatures', () => {
  it('are made and verified by keys of openssl, and by openssl itself', async () => {
    const folder = await testFolder();
    const text = async (name: string): Promise<string> => readFile(join(folder, name), 'utf8');
    await openssl(folder, 'genpkey', '-algorithm', 'ed25519', '-out', 'key.pem');
    await openssl(folder, 'pkey', '-in', 'key.pem', '-pubout', '-out', 'key.pub');
    const signature = signatureOf(bytes, parsePrivateKey(await text('key.pem')));
    expect(isSignedBy(bytes, signature, parsePublicKey(await text('key.pub')))).toBe(true);
    await writeFile(join(folder, 'bytes'), bytes);
    await writeFile(join(folder, 'raw'), Buffer.from(signature.toString(), 'base64'));
    await openssl(
      folder,
      ...'pkeyutl -verify -pubin -inkey key.pub -rawin -in bytes -sigfile raw'.split(' '),
    );
  });

  it('are of one key and of the same bytes alone', () => {
    const { privateKey, publicKey } = generateKeyPairSync('ed25519');
    const signature = signatureOf(bytes, privateKey);
    expect(isSignedBy(bytes, signature, publicKey)).toBe(true);
    expect(isSignedBy(Buffer.from('what is signee'), signature, publicKey)).toBe(false);
    expect(isSignedBy(bytes, Buffer.from('nonsense'), publicKey)).toBe(false);
    expect(isSignedBy(bytes, Buffer.alloc(0), publicKey)).toBe(false);
    expect(isSignedBy(bytes, signature, generateKeyPairSync('ed25519').publicKey)).toBe(false);
  });

  it('take no other keys, and no private one for a public one; what is refused is not quoted', () => {
    const pair = generateKeyPairSync('ed25519');
    const pkcs8 = pair.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
    const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const other = rsa.publicKey.export({ type: 'spki', format: 'pem' }).toString();
    for (const text of ['', 'nonsense', other, pkcs8]) expect(() => parsePublicKey(text)).toThrow(KeyError);
    for (const text of ['', 'nonsense', other]) expect(() => parsePrivateKey(text)).toThrow(KeyError);
    const secret = 'MC4CAQAwBQYDK2Vw-secret';
    try {
      parsePrivateKey(`-----BEGIN PRIVATE KEY-----\n${secret}\n-----END PRIVATE KEY-----`);
    } catch (error) {
      expect(JSON.stringify([error, String(error), String((error as Error).cause)])).not.toContain(secret);
    }
  });
});
