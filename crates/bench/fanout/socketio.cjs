// Socket.IO as a fan-out server: what the source says, a line each, goes to the room that every client is in.
// socketio.cjs CLIENTS_PORT SOURCE_PORT
const http = require('node:http');
const net = require('node:net');
const readline = require('node:readline');
const { Server } = require('socket.io');

const [clients, source] = process.argv.slice(2).map(Number);
const web = http.createServer();
const server = new Server(web, { transports: ['websocket'], perMessageDeflate: false, serveClient: false });

server.on('connection', (client) => client.join('all'));
web.listen({ host: '127.0.0.1', port: clients, backlog: 4096 });
net
  .createServer((from) => {
    readline.createInterface({ input: from }).on('line', (line) => server.to('all').emit('m', line));
  })
  .listen(source, '127.0.0.1');
