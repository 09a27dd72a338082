// `ws` as a fan-out server: what the source says, a line each, goes to every client. Frames are made once, and there is no compression.
// ws.cjs CLIENTS_PORT SOURCE_PORT
const net = require('node:net');
const readline = require('node:readline');
const { Sender, WebSocketServer } = require('ws');

const [clients, source] = process.argv.slice(2).map(Number);
const server = new WebSocketServer({ host: '127.0.0.1', port: clients, backlog: 4096, perMessageDeflate: false });
const frame = (text) =>
  Buffer.concat(Sender.frame(Buffer.from(text), { fin: true, opcode: 1, mask: false, readOnly: false, rsv1: false }));

server.on('connection', (client) => client.on('error', () => client.terminate()));
net
  .createServer((from) => {
    readline.createInterface({ input: from }).on('line', (line) => {
      const bytes = frame(line);
      for (const client of server.clients) client._socket.write(bytes);
    });
  })
  .listen(source, '127.0.0.1');
