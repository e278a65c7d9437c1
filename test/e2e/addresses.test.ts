import { describe, expect, it } from 'vitest';
import { probeAddresses, type AddressProbe } from '../support/own-network.ts';

const ADDRESSES = ['8.8.8.8', '9.9.9.9', '10.9.9.9', '10.8.8.8', '169.254.169.254', '169.254.7.7'];

function probe(options: AddressProbe) {
  return probeAddresses(ADDRESSES, options);
}

/** All of these answer in the network where they are tried. */
describe('A registry', () => {
  it('on the internet sends us to other places on the internet and to none inside', async () => {
    const inside = [
      ['10.9.9.9', 'private'],
      ['127.0.0.1', 'loopback'],
      ['[::1]', 'loopback'],
      ['[::ffff:127.0.0.1]', 'loopback'],
      ['169.254.7.7', 'link-local'],
      ['169.254.169.254', 'cloud metadata'],
      ['inside.test', 'private'],
      ['localhost.test', 'loopback'],
    ] as const;
    const { seen, outcomes } = await probe({
      registry: 'http://8.8.8.8:5000',
      redirects: [...inside.map(([host]) => `http://${host}:6000/x`), 'http://9.9.9.9:6000/x'],
      names: { 'inside.test': ['10.9.9.9'], 'localhost.test': ['127.0.0.1'] },
    });
    expect(outcomes).toEqual([
      ...inside.map(([, kind]) =>
        expect.stringMatching(`is not dialled, because it is at a ${kind} address$`),
      ),
      'not-found',
    ]);
    expect(seen).toEqual(['9.9.9.9:6000']);
  });

  it('in a private network sends us to others there and to the internet, and not to this machine', async () => {
    const { seen, outcomes } = await probe({
      registry: 'http://10.9.9.9:5000',
      redirects: ['10.8.8.8', '8.8.8.8', '127.0.0.1', '169.254.7.7', '169.254.169.254'].map(
        (host) => `http://${host}:6000/x`,
      ),
    });
    expect(outcomes.map((outcome) => outcome === 'not-found')).toEqual([true, true, false, false, false]);
    expect(seen).toEqual(['10.8.8.8:6000', '8.8.8.8:6000']);
  });

  it('gains nothing when its name resolves into a private network later', async () => {
    const { seen, outcomes } = await probe({
      registry: 'http://registry.test:5000',
      redirects: ['http://9.9.9.9:6000/x', 'http://10.8.8.8:6000/x', 'http://127.0.0.1:6000/x'],
      names: { 'registry.test': ['8.8.8.8', '10.9.9.9'] },
    });
    expect(outcomes.map((outcome) => outcome === 'not-found')).toEqual([true, false, false]);
    expect(seen).toEqual(['9.9.9.9:6000']);
  });

  it('that redirects to a name which changes between two looks is not followed to where it must not be', async () => {
    const { seen, outcomes } = await probe({
      registry: 'http://8.8.8.8:5000',
      redirects: [
        'http://rebinding.test:6000/x',
        'http://rebinding.test:6001/x',
        'http://rebinding.test:6002/x',
      ],
      names: { 'rebinding.test': ['9.9.9.9', '10.9.9.9', '127.0.0.1'] },
    });
    expect(outcomes[0]).toBe('not-found');
    for (const outcome of outcomes.slice(1)) expect(outcome).toContain('is not dialled');
    expect(seen).toEqual(['rebinding.test:6000']);
  });
});
