import { takeCoverage } from 'node:v8';
import { afterAll } from 'vitest';

// Vitest ends its workers by a signal, at which Node writes nothing.
afterAll(() => takeCoverage());
