import { describe, expect, it } from 'vitest';
import { accepts } from '../../src/oci/media-types.ts';
import { DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST } from '../../src/oci/media-types.ts';

describe('an Accept header', () => {
  it('takes everything when it is absent, empty or a wildcard', () => {
    for (const accept of [
      undefined,
      '',
      ' ',
      '*/*',
      'application/*',
      'text/html, */*;q=0.1',
      'application/json',
      '*; q=.2',
    ]) {
      expect(accepts(accept, OCI_INDEX)).toBe(true);
    }
  });

  it('takes a type that it names, whatever its parameters and case', () => {
    expect(accepts(`${DOCKER_MANIFEST},${OCI_INDEX};q=0.5`, OCI_INDEX)).toBe(true);
    expect(accepts(OCI_INDEX.toUpperCase(), OCI_INDEX)).toBe(true);
  });

  it('refuses a type that it does not name', () => {
    expect(accepts(OCI_MANIFEST, OCI_INDEX)).toBe(false);
    expect(accepts('text/html', OCI_INDEX)).toBe(false);
    for (const [before, after] of [
      ['', 'x'],
      ['x', ''],
      ['text/', ''],
      ['text ', ''],
      ['', ' text'],
      [',x ', ','],
    ]) {
      expect(accepts(`${before}${OCI_INDEX}${after}`, OCI_INDEX)).toBe(false);
    }
  });
});
