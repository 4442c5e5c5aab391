import react from '@vitejs/plugin-react';
import { defineConfig, loadEnv } from 'vite';

export default defineConfig(({ mode }) => {
  // While developing: `make run` in one terminal, `npm run dev` in another.
  const { STACK: stack = 'http://localhost:8080' } = loadEnv(mode, import.meta.dirname, 'STACK');
  return {
    plugins: [react()],
    build: {
      target: 'es2022',
      // A data: URL would need an exception in the content security policy.
      assetsInlineLimit: 0,
      // The browsers we build for preload modules themselves.
      modulePreload: { polyfill: false },
    },
    server: {
      proxy: { '/v1': stack, '/oidc': stack, '/config.json': stack },
    },
  };
});
