"""What browsers see: HTTPS, the signalling WebSocket, the meeting client, the mesh page."""
