/** Run in the project's folder, writes config/clients anew. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { exampleFiles } from './examples.ts';

mkdirSync('config/clients/tls', { recursive: true });
for (const { name, text } of exampleFiles()) writeFileSync(`config/clients/${name}`, text);
