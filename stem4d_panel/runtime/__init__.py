"""What computing needs beside algorithms: cache, jobs, progress, threads, safe files."""
