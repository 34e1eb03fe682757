"""What ties Spendtree to other libraries; each module is imported on use, and needs its library."""
