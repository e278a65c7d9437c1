import { describe, expect, it } from 'vitest';
import { mayHaveCredentials } from '../../../src/upstream/auth/credential-hosts.ts';

const may = (registry: string, other: string, named: readonly string[] = []): boolean =>
  mayHaveCredentials(new URL(registry), new URL(other), named);

describe('credentials', () => {
  it.each([
    ['https://registry-1.docker.io', 'https://auth.docker.io/token'],
    ['https://ghcr.io', 'https://ghcr.io/token'],
    ['https://lscr.io', 'https://ghcr.io/token'],
    ['https://registry.gitlab.com', 'https://gitlab.com/jwt/auth'],
    ['https://mine.azurecr.io', 'https://mine.azurecr.io/oauth2/token'],
    ['https://gitlab.acme.example:5050', 'https://gitlab.acme.example/jwt/auth'],
    ['http://127.0.0.1:5000', 'http://127.0.0.1:5001/token'],
    ['http://[::1]:5000', 'http://[::1]/token'],
    ['http://registry:5000', 'https://registry/token'],
  ])('of %s go to %s', (registry, other) => {
    expect(may(registry, other)).toBe(true);
  });

  it.each([
    ['https://mine.azurecr.io', 'https://evil.azurecr.io/token'],
    ['https://1.dkr.ecr.eu-west-1.amazonaws.com', 'https://evil.s3.amazonaws.com/token'],
    ['https://registry.acme.example', 'https://gitlab.acme.example/jwt/auth'],
    ['https://registry-1.docker.io', 'https://hub.docker.io/token'],
    ['https://registry-1.docker.io', 'https://auth.docker.io.evil.example/token'],
    ['https://registry-1.docker.io', 'http://auth.docker.io/token'],
    ['https://registry-1.docker.io', 'https://auth.docker.io@evil.example/token'],
    ['https://ghcr.io', 'https://lscr.io/token'],
    ['https://ghcr.io', 'http://ghcr.io/token'],
    ['https://acme.github.io', 'https://evil.github.io/token'],
    ['http://127.0.0.1:5000', 'http://localhost:5000/token'],
    ['http://10.0.0.1', 'http://10.0.0.2/token'],
  ])('of %s do not go to %s', (registry, other) => {
    expect(may(registry, other)).toBe(false);
  });

  it('go to a host that the settings name, at any port unless they name one', () => {
    const registry = 'https://registry.acme.example';
    expect(may(registry, 'https://login.acme.example:8443/x', ['login.acme.example'])).toBe(true);
    expect(may(registry, 'https://login.acme.example:8443/x', ['login.acme.example:8443'])).toBe(true);
    expect(may(registry, 'https://login.acme.example/x', ['login.acme.example:443'])).toBe(true);
    expect(may(registry, 'https://login.acme.example/x', ['login.acme.example:8443'])).toBe(false);
    expect(may(registry, 'https://a.login.acme.example/x', ['login.acme.example'])).toBe(false);
  });

  it('of a registry with https go to nobody by http, whoever the settings name', () => {
    expect(may('https://registry.acme.example', 'http://login.acme.example/x', ['login.acme.example'])).toBe(
      false,
    );
  });
});
