"""A leaderboard as a folder of static files that any host can serve."""
